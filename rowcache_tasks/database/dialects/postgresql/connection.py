"""Own the connection to PostgreSQL that gives a silent server up.

Imports psycopg, an optional extra: only postgresql.py may import this, and only when it connects.
"""

import time
from collections.abc import Generator
from typing import Any

from psycopg import Connection, OperationalError

__all__ = ["PatientConnection"]


class PatientConnection(Connection[tuple[Any, ...]]):
    """Waits for an answer as long as the server may take, and a little longer; then closes itself and raises.

    libpq waits for ever. Keepalives do not help when something between us and the server still acknowledges our
    packets: a proxy, a pooler, a stopped server process.
    """

    patience_s = float("inf")
    """Longest silence of the server while it owes an answer; seconds."""

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
        """Wait for what psycopg does on the connection. Raises OperationalError when the server is silent."""
        return super().wait(self._bounded(gen), *args, **kwargs)

    def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Pass a generator on. psycopg sends it 0 ten times a second while nothing can be read or written."""
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > self.patience_s:
                    self.close()  # that, and not the exception, tells SQLAlchemy to open another one
                    raise OperationalError(f"the server has not answered for {self.patience_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value
