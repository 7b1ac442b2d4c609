"""Own how the alternatives are run: what they are, with which settings, and in which environment.

All read and write the rows with benchmarks.programs.row, except for celery-batches one row at a time. A task queue gets
its tasks from one process that polls the schedule (benchmarks.programs.feed), and has two worker processes.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks import environment
from benchmarks.contender import Running, programs, warm_up
from benchmarks.environment import same
from benchmarks.stage import Stage

WARM_ROWS = 200

DRIVERS = ("psycopg", "psycopg-binary", "msgspec", "hiredis")


def book_daemon() -> Running:
    """Run the daemon of the book: one process."""

    @contextmanager
    def running(stage: Stage) -> Iterator[dict[str, list[int]]]:
        with programs(stage, {"daemon": [sys.executable, "-m", "benchmarks.programs.book_daemon"]}) as pids:
            warm_up(stage, "book's daemon", pids, WARM_ROWS, 1)
            yield pids

    return running


def task_queue(python: str, module: str, workers: Mapping[str, list[str]], sessions: int, rows: int) -> Running:
    """Run the feed of a module of programs and its workers: name -> arguments after the interpreter."""

    @contextmanager
    def running(stage: Stage) -> Iterator[dict[str, list[int]]]:
        commands = {name: [python, *arguments] for name, arguments in workers.items()}
        feed = {"feed": [python, "-m", "benchmarks.programs.feed", module]}
        with programs(stage, commands, has_line=False) as pids, programs(stage, feed) as feed_pids:
            every = feed_pids | pids
            warm_up(stage, module, every, rows, sessions)
            yield every

    return running


def celery() -> Running:
    """Celery: a worker with two processes, in the environment of this process: we are built on it."""
    return task_queue(sys.executable, "celery_row", {"worker": celery_worker("celery_row", "--concurrency=2")}, 2, 400)


def celery_solo() -> Running:
    """Celery: two workers without a pool, each of which runs tasks in its main thread."""
    workers = {
        name: celery_worker("celery_row", "--pool=solo", f"--hostname={name}@%h") for name in ("worker-1", "worker-2")
    }
    return task_queue(sys.executable, "celery_row", workers, 2, 400)


def celery_worker(module: str, *options: str) -> list[str]:
    """Give the arguments of a worker that talks to no other one."""
    quiet = ["--loglevel=warning", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    return ["-m", "celery", "-A", f"benchmarks.programs.{module}", "worker", *quiet, *options]


def celery_batches() -> Running:
    """celery-batches: a worker with two processes."""
    packages = ["celery-batches==0.11", "celery==5.6.3", *same("kombu[redis]", "redis", *DRIVERS)]
    python = environment.python("celery-batches", packages)
    return task_queue(python, "celery_batch", {"worker": celery_worker("celery_batch", "--concurrency=2")}, 1, 1000)


def rq() -> Running:
    """RQ: a pool of two workers that do not fork."""
    python = environment.python("rq", ["rq==3.0.0", *same("redis", *DRIVERS)])
    broker = ["-c", "benchmarks.programs.rq_settings", "-w", "rq.SimpleWorker", "-q"]
    return task_queue(python, "rq_row", {"worker": ["-m", "rq.cli", "worker-pool", "-n", "2", *broker]}, 2, WARM_ROWS)


def arq() -> Running:
    """arq: two workers, each with ten sessions at the database."""
    python = environment.python("arq", ["arq==0.28.0", "redis==5.3.1", *same(*DRIVERS)])
    worker = ["-m", "arq", "benchmarks.programs.arq_row.WorkerSettings"]
    return task_queue(python, "arq_row", {"worker-1": worker, "worker-2": worker}, 20, WARM_ROWS)


def dramatiq() -> Running:
    """dramatiq: two processes of eight threads, each with a session at the database."""
    python = environment.python("dramatiq", ["dramatiq[redis]==2.2.1", *same("redis", *DRIVERS)])
    worker = ["-m", "dramatiq", "benchmarks.programs.dramatiq_row", "--processes", "2"]
    return task_queue(python, "dramatiq_row", {"worker": worker}, 16, WARM_ROWS)


def taskiq() -> Running:
    """taskiq: two processes, each with ten sessions at the database."""
    packages = ["taskiq==0.13.0", "taskiq-redis==1.2.4", *same("redis", *DRIVERS)]
    python = environment.python("taskiq", packages)
    options = ["--workers", "2", "--log-level", "WARNING", "--no-parse", "--ack-type", "when_received"]
    worker = ["-m", "taskiq", "worker", "benchmarks.programs.taskiq_row:broker", *options]
    return task_queue(python, "taskiq_row", {"worker": worker}, 20, WARM_ROWS)


def huey() -> Running:
    """huey: a consumer with two processes."""
    python = environment.python("huey", ["huey==3.5.4", *same("redis", *DRIVERS)])
    worker = [
        "-m",
        "huey.bin.huey_consumer",
        "benchmarks.programs.huey_row.huey",
        "-w",
        "2",
        "-k",
        "process",
        "-q",
        "-n",
    ]
    return task_queue(python, "huey_row", {"worker": worker}, 2, WARM_ROWS)
