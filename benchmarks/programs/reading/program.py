"""Own one reading program as the case sees it: started, told to read, ended."""

import select
import subprocess
import sys
from typing import Self

from benchmarks.programs.reading.order import Answer, Order
from benchmarks.stage import Stage

ANSWER_S = 120.0
"""An answer that takes longer does not come: an order is for some milliseconds of work."""


class Program:
    """A process; it ends by itself when this one does, since its standard input ends then."""

    def __init__(self, stage: Stage, name: str, *arguments: str, python: str = sys.executable) -> None:
        self._name = "-".join([name, *arguments])
        self._log = stage.folder / f"{self._name}.log"
        env = stage.env | {"BENCH_SQLALCHEMY": stage.database_url}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-m", f"benchmarks.programs.reading.{name}", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=env,
                cwd=stage.folder,
            )

    def await_ready(self) -> Self:
        """Wait until it has tried all its ways."""
        found = self._line()
        assert found == "ready\n", f"{self._name} says {found!r}"
        return self

    def read(self, order: Order) -> Answer:
        """Have it read."""
        assert self._process.stdin is not None
        self._process.stdin.write(order.as_line())
        self._process.stdin.flush()
        return Answer.of(self._line())

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _line(self) -> str:
        output = self._process.stdout
        assert output is not None
        line = output.readline() if select.select([output], [], [], ANSWER_S)[0] else ""
        assert line, f"{self._name} has given no answer:\n{self._log.read_text(errors='replace')[-4000:]}"
        return line
