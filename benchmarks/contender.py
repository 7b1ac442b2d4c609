"""The contenders of a refresh: processes that keep due rows in the cache.

- one and two bare loops: SELECT of 500 rows, encode, MSET; no schedule, no guarantee;
- the daemon of *Redis in Action*, section 2.4: one row at a time, one process;
- Celery with a task for each row, and huey, the fastest of the other task queues measured in November 2026. A feed
  process claims due rows and sends the tasks; two worker processes run them.

All use the same drivers and the same JSON encoder, on connections that stay open. Each has the fastest settings that
its documentation recommends; they are in benchmarks/programs.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.waiting import wait_until

from benchmarks.processor import descendants
from benchmarks.servers import ROOT, Servers
from benchmarks.warmup import warm_up
from demo.servers import Child
from rowcache_tasks.dispatch.backpressure import Limits

Pids = dict[str, list[int]]
"""Group of processes -> their process ids."""

Running = Callable[[Servers], AbstractContextManager[Pids]]
"""Starts the processes of a contender, warms them up, and stops them."""

BATCH_SIZE = Limits().batch_size
"""Default number of rows in a batch of this package."""

PYTHON = [sys.executable, "-m"]


@dataclass(frozen=True)
class Contender:
    """One way to refresh rows."""

    name: str
    running: Running
    rate: float
    """Expected rows a second, rough."""
    is_ours: bool = False


@contextmanager
def programs(servers: Servers, commands: Mapping[str, list[str]], ready: str = "ready") -> Iterator[Pids]:
    """Run programs, by name, from the time when each has written the text `ready` to its log."""
    children: dict[str, Child] = {}
    try:
        for name, argv in commands.items():
            (servers.folder / f"{name}.log").unlink(missing_ok=True)
            children[name] = servers.start(name, argv)
        for name, child in children.items():

            def is_ready(name: str = name, child: Child = child) -> bool:
                assert child.poll() is None, f"{name} has ended:\n{servers.log(name)}"
                return ready in servers.log(name)

            wait_until(is_ready, f"{name} is ready")
        yield {name: [child.pid] for name, child in children.items()}
    finally:
        for child in children.values():
            child.kill()


def bare_loop(parts: int) -> Running:
    """Run bare loops, each for its share of the rows."""

    @contextmanager
    def running(servers: Servers) -> Iterator[Pids]:
        commands = {f"bare-{n}": [*PYTHON, "benchmarks.programs.bare_loop", str(n), str(parts)] for n in range(parts)}
        with programs(servers, commands) as pids:
            warm_up(servers, pids, rows=1000 * parts, sessions=parts)
            yield pids

    return running


def book_daemon(*arguments: str) -> Running:
    """Run the daemon of the book."""

    @contextmanager
    def running(servers: Servers) -> Iterator[Pids]:
        with programs(servers, {"daemon": [*PYTHON, "benchmarks.programs.book_daemon", *arguments]}) as pids:
            warm_up(servers, pids, rows=200, sessions=1)
            yield pids

    return running


def task_queue(module: str, *worker: str) -> Running:
    """Run the feed of a module of programs and its worker, which has two processes."""

    @contextmanager
    def running(servers: Servers) -> Iterator[Pids]:
        feed = {"feed": [*PYTHON, "benchmarks.programs.feed", module]}
        with programs(servers, {"worker": [*PYTHON, *worker]}, ready="") as pids, programs(servers, feed) as feeding:
            warm_up(servers, pids | feeding, rows=400, sessions=2)
            yield feeding | {"worker": [*pids["worker"], *descendants(pids["worker"][0])]}

    return running


def ours(processes: int = 2, checkout: Path = ROOT, **env: str) -> Running:
    """Run one dispatcher and one worker with a number of pool processes, of a checkout, with the settings of `env`."""

    @contextmanager
    def running(servers: Servers) -> Iterator[Pids]:
        deployment = servers.deployment(checkout, **env)
        for log in ("beat", "worker"):
            (servers.folder / f"{log}.log").unlink(missing_ok=True)
        try:
            beat = deployment.start_beat()
            # As in docker-compose.yml, a worker writes no line for each task.
            worker = deployment.start_worker("worker", f"--concurrency={processes}", "--loglevel=warning")
            pids = {"dispatcher": [beat.pid], "worker": [worker.pid]}
            # Enough rows for a batch for each process at the same time.
            batch = int(env.get("ROWCACHE_BATCH_SIZE", BATCH_SIZE))
            rows = min(servers.rows, 4 * processes * max(10, batch))
            warm_up(servers, pids, rows=rows, sessions=processes)
            yield pids | {"pool": descendants(worker.pid)}
        finally:
            deployment.stop()

    return running


CELERY = [
    *("celery", "-A", "benchmarks.programs.celery_row", "worker", "--concurrency=2", "--loglevel=warning"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
]
HUEY = ["huey.bin.huey_consumer", "benchmarks.programs.huey_row.huey", "-w", "2", "-k", "process", "-q", "-n"]

BARE = Contender("bare loop", bare_loop(1), 70_000)
BARE_TWO = Contender("bare loop, 2 processes", bare_loop(2), 110_000)
BOOK = Contender("the book's daemon", book_daemon(), 1_000)
TIMED_BOOK = Contender(BOOK.name, book_daemon("timed"), 1_000)
CELERY_ROW = Contender("Celery, a task a row", task_queue("celery_row", *CELERY), 700)
HUEY_ROW = Contender("huey", task_queue("huey_row", *HUEY), 2_000)
OURS = Contender("rowcache_tasks", ours(), 50_000, is_ours=True)
