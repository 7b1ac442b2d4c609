"""Own the order of the cases, the servers that they share, and what happens when one of them fails."""

import importlib
import shlex
import traceback
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks import machine
from benchmarks.options import Options
from benchmarks.progress import progress
from benchmarks.results import Result, Results
from benchmarks.stage import Stage

CASES = ("throughput", "profile", "lateness", "scale", "idle", "reading")


def measure(names: Sequence[str], options: Options, results: Results, path: Path) -> list[str]:
    """Run the cases, write results.json after each; gives the names of those that failed."""
    failed = []
    with ExitStack() as stack:
        stage: Stage | None = None
        run: dict[str, Any] = {}
        for number, name in enumerate(names, 1):
            try:
                if stage is None:
                    progress.say(f"starting Valkey and PostgreSQL with {options.rows:,} rows")
                    stage = stack.enter_context(Stage(options.rows))
                    run = run or machine.describe(stage) | {"is_quick": options.is_quick}
                progress.say(f"{name}, {number} of {len(names)}")
                results.put(measured(name, stage, options, run))
                results.write(path)
            except SystemExit:
                progress.say("stopping everything")
                raise
            except Exception:  # noqa: BLE001 - the other cases are worth measuring all the same
                failed.append(name)
                progress.say(f"{name} failed:\n{traceback.format_exc()}")
                stack.close()  # who knows what it did to the servers; the next case gets new ones
                stage = None
    return failed


def measured(name: str, stage: Stage, options: Options, run: dict[str, Any]) -> Result:
    """Run one case on empty databases of Valkey, and leave nothing of it running."""
    case = importlib.import_module(f"benchmarks.cases.{name}")
    stage.clear()
    started = progress.seconds
    before = set(psutil.Process().children())
    try:
        section = case.run(stage, options)
    finally:
        for child in set(psutil.Process().children()) - before:
            end(child, name)
    if section.name != name:
        raise ValueError(f"the case {name} gave a section named {section.name!r}: name it {name!r}")
    return Result(section, run, progress.seconds - started)


def end(child: psutil.Process, name: str) -> None:
    """Kill a process that a case has left behind, with its own: it would slow down whatever is measured next."""
    with suppress(psutil.NoSuchProcess):
        if child.status() == psutil.STATUS_ZOMBIE:
            return
        progress.say(f"{name} left the process {child.pid} behind: {shlex.join(child.cmdline())}")
        for process in [*child.children(recursive=True), child]:
            process.kill()
