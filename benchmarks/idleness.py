"""Own what processes cost that have nothing to do: round trips to Redis, commands, processor time."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from support.deployment import Deployment

from benchmarks.processor import Processor
from benchmarks.stage import Stage, wait_until
from rowcache_tasks.demo.servers import Child

ROWS = 10_000
"""Scheduled, and not due for an hour."""

SETTLE_S = 1.5
"""After the start, until what is done only once is over."""


@dataclass(frozen=True)
class Idle:
    """What a process costs a second."""

    round_trips: float
    """How often the server read something from a connection; a script is one, and so is a pipeline."""
    commands: float
    """Commands that the server ran, those of scripts included."""
    processor_percent: float
    """Of one core."""
    server_percent: float
    """The server's, of one core."""


def idle_dispatcher(stage: Stage, seconds: float, count: int = 1, tables: int = 1) -> Idle:
    """Measure so many dispatchers together, of so many tables."""
    known = {f"t{n}": {"table": "inventory", "namespace": f"t{n}" if n else ""} for n in range(tables)}

    def start(deployment: Deployment) -> list[Child]:
        names = [f"beat{n}" for n in range(count)]
        children = [deployment.start_beat(name, ROWCACHE_TABLES=json.dumps(known)) for name in names]
        wait_until(lambda: all("dispatching t0" in deployment.log(name) for name in names), "dispatchers run")
        return children

    return idle(stage, seconds, start)


def idle_worker(stage: Stage, seconds: float) -> Idle:
    """Measure a worker of two processes."""

    def start(deployment: Deployment) -> list[Child]:
        children = [deployment.start_worker()]
        wait_until(lambda: " ready." in deployment.log("worker"), "the worker runs")
        return children

    return idle(stage, seconds, start)


def idle(stage: Stage, seconds: float, start: Callable[[Deployment], list[Child]]) -> Idle:
    """Start processes, and count what they do for so many seconds."""
    stage.clear()
    stage.schedule(1, ROWS, 3600.0, stage.now() + 3600)
    for log in stage.folder.glob("*.log"):
        log.unlink()
    deployment = stage.deployment()
    try:
        children = start(deployment)
        time.sleep(SETTLE_S)
        processor = Processor({"ours": [child.pid for child in children], "server": [stage.valkey.pid]})
        before, started = counted(stage), time.monotonic()
        time.sleep(seconds)
        used, took = processor.used(), time.monotonic() - started
        after = counted(stage)
    finally:
        deployment.stop()
    reads, commands = (after[n] - before[n] - 1 for n in (0, 1))  # the second look is none of theirs
    return Idle(reads / took, commands / took, 100 * used["ours"] / took, 100 * used["server"] / took)


def counted(stage: Stage) -> tuple[int, int]:
    """Give how many times the server has read from a connection, and how many commands it has run."""
    info: dict[str, int] = stage.client.info("stats")
    return info["total_reads_processed"], info["total_commands_processed"]
