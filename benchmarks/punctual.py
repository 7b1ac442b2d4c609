"""Own whose lateness is measured, and how each of them is started. Knows nothing of what is measured."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from benchmarks.contender import Running, ours, programs, warm_up
from benchmarks.stage import Stage
from benchmarks.timetable import Row

Pids = dict[str, list[int]]

WARM_ROWS = 200
LEASE_S = 30.0

CELERY_OPTIONS = ["--loglevel=warning", "--without-gossip", "--without-mingle", "--without-heartbeat"]


def no_pacing(_stage: Stage, _rows: Sequence[Row]) -> AbstractContextManager[Pids]:
    """Start nothing: what is due is in the schedule, and that is all that it takes."""
    return nullcontext({})


@dataclass(frozen=True)
class Candidate:
    """One way to refresh rows on their intervals."""

    key: str
    label: str
    running: Running
    """Runs as long as the candidate is measured."""
    pacing: Callable[[Stage, Sequence[Row]], AbstractContextManager[Pids]] = no_pacing
    """Runs as long as one timetable."""
    start_s: float = 0.6
    start_row_s: float = 1.5e-5
    """How long before the first due time it is told of its rows: seconds, and seconds for each row."""
    lease_s: float | None = None
    """How long a claim lasts, where there is such a thing."""
    is_ours: bool = False

    def lead_s(self, rows: int) -> float:
        """Give the seconds between the start of a timetable of so many rows and its first due time."""
        return self.start_s + rows * self.start_row_s


@contextmanager
def book_daemon(stage: Stage) -> Iterator[Pids]:
    """Run the book's daemon, which writes down when it refreshed each row."""
    with programs(stage, {"daemon": [sys.executable, "-m", "benchmarks.programs.timed_book_daemon"]}) as pids:
        warm_up(stage, "book's daemon", pids, WARM_ROWS, 1)
        yield pids


@contextmanager
def celery_beat(stage: Stage, rows: Sequence[Row]) -> Iterator[Pids]:
    """Run beat with an entry for each row, and a worker with two processes."""
    stage.broker.flushdb()
    entries = stage.folder / "entries.json"
    entries.write_text(json.dumps([(row.row_id, row.delay_s, row.due) for row in rows]))
    schedule = stage.folder / "celerybeat-schedule"
    schedule.unlink(missing_ok=True)
    celery = [sys.executable, "-m", "celery", "-A", "benchmarks.programs.celery_beat"]
    worker = [*celery, "worker", "--concurrency=2", *CELERY_OPTIONS]
    beat = [*celery, "beat", "--loglevel=warning", "--pidfile=", f"--schedule={schedule}"]
    with (
        programs(stage, {"worker": worker}, has_line=False) as worker_pids,
        programs(stage, {"beat": beat}, BENCH_ENTRIES=str(entries)) as beat_pids,
    ):
        yield worker_pids | beat_pids


OURS = Candidate("ours", "rowcache_tasks", ours(ROWCACHE_LEASE=str(LEASE_S)), lease_s=LEASE_S, is_ours=True)
BOOK = Candidate("book", "the book's daemon", book_daemon)
BEAT = Candidate("beat", "Celery beat, an entry a row", lambda _: nullcontext({}), celery_beat, 2.5, 8e-5)
