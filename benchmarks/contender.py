"""Own what a contender of the refresh is: processes that see to it that due rows are in the cache.

A round: the processes are started and wait; the rows become due at one moment; it ends when the cache holds them all.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from benchmarks.processor import Processor
from benchmarks.stage import Stage, wait_until

DELAY_S = 3600.0
"""Longer than a round: each row is refreshed once."""

LEAD_S = 0.3
"""How long before they are due the rows are in the schedule; beside 2 s for each million of them."""

Running = Callable[[Stage], AbstractContextManager[dict[str, list[int]]]]
"""Starts the processes of a contender and waits until they are ready; gives its groups of processes, for Processor."""


@dataclass(frozen=True)
class Contender:
    """One way to refresh rows."""

    name: str
    running: Running
    rows: int
    """How many rows are refreshed in a round: some seconds of work."""
    is_ours: bool = False
    about: str = ""


@dataclass(frozen=True)
class Round:
    """What one round gave."""

    rate: float
    """Rows a second, from their due time until the last of them was in the cache."""
    cost_us: dict[str, float] = field(default_factory=dict)
    """Group of processes -> microseconds of processor time a row."""


def run_round(stage: Stage, contender: Contender, timeout_s: float = 120.0) -> Round:
    """Start a contender, let its rows be due, wait for the last of them, stop it."""
    stage.clear()
    with contender.running(stage) as pids:
        due = stage.now() + LEAD_S + contender.rows * 5e-6
        stage.schedule(1, contender.rows, DELAY_S, due)
        order = json.dumps({"at": due, "first": 1, "last": contender.rows})
        stage.broker.rpush("go", *[order] * 8)
        pids = stage.server_pids | pids
        expected = stage.cached() + contender.rows
        time.sleep(max(0.0, due - 0.02 - stage.now()))
        processor = Processor(pids)
        wait_until(lambda: stage.cached() >= expected, f"{contender.name} is ready", timeout_s, pause_s=0.004)
        seconds = stage.now() - due
        used = processor.used()
    return Round(contender.rows / seconds, {name: 1e6 * s / contender.rows for name, s in used.items()})


@contextmanager
def programs(stage: Stage, commands: dict[str, list[str]], **env: str) -> Iterator[dict[str, list[int]]]:
    """Start programs and wait until each has written a line "ready"; gives their processes by name."""
    children = {}
    try:
        for name, argv in commands.items():
            (stage.folder / f"{name}.log").unlink(missing_ok=True)
            children[name] = stage.start(name, argv, **env)
        for name, child in children.items():

            def is_ready(name: str = name, child: object = child) -> bool:
                assert child.poll() is None, f"{name} has ended:\n{stage.log(name)}"  # type: ignore[attr-defined]
                return "ready" in stage.log(name)

            wait_until(is_ready, f"{name} is ready")
        yield {name: [child.pid] for name, child in children.items()}
    finally:
        for child in children.values():
            child.kill()


def bare_loop(parts: int) -> Running:
    """Read, encode and write 500 rows at a time, in so many processes, each its share: no schedule, no guarantee."""

    def running(stage: Stage) -> AbstractContextManager[dict[str, list[int]]]:
        return programs(
            stage,
            {
                f"bare-{part}": [sys.executable, "-m", "benchmarks.programs.bare_loop", str(part), str(parts)]
                for part in range(parts)
            },
        )

    return running


def ours(processes: int = 2, pool: str = "prefork", **env: str) -> Running:
    """Run one dispatcher and one worker of so many processes, or threads, with the settings of `env`."""

    @contextmanager
    def running(stage: Stage) -> Iterator[dict[str, list[int]]]:
        deployment = stage.deployment(**env)
        for log in ("beat", "worker"):
            (stage.folder / f"{log}.log").unlink(missing_ok=True)
        try:
            beat = deployment.start_beat()
            worker = deployment.start_worker("worker", f"--concurrency={processes}", f"--pool={pool}")
            # One row through every process of the pool, so that its connections are open.
            for number in range(1, 4 * processes + 1):
                stage.schedule(-number, -number, 0.1, 0.0)
            wait_until(lambda: deployment.stat("committed_at") or deployment.stat("missing"), "the worker works")
            deployment.schedule.drop_rows([str(-number) for number in range(1, 4 * processes + 1)])
            yield {"dispatcher": [beat.pid], "worker": [worker.pid]}
        finally:
            deployment.stop()

    return running
