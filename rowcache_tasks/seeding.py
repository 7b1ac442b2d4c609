"""Own the use case "schedule every row of a table". Must not know Celery: progress is passed in."""

from collections.abc import Callable

from rowcache_tasks.schedule import Changed, Schedule
from rowcache_tasks.source import Source

__all__ = ["seed_table"]

GOLDEN_RATIO = 0.6180339887498949

SEED_BATCH = 200
"""Rows in one script call: about 2 ms, between which refreshes and readers get their turn."""


def seed_table(schedule: Schedule, source: Source, delay: float, stamp: str, report: Callable[[int], None]) -> Changed:
    """Schedule all rows with the same delay, the first refreshes spread evenly over one delay.

    The keys are streamed, a batch in memory at a time. The n-th row starts at the fraction n * golden ratio (mod 1)
    of the delay: even at every length, with no need to know how many rows there are. Calls `report` with the number
    of rows so far after each batch. Repeating it after a failure does no harm.
    """
    total = Changed(0, 0)
    count = 0
    for row_ids in source.stream_row_ids(SEED_BATCH):
        rows = {row_id: (delay, (count + place) * GOLDEN_RATIO % 1 * delay) for place, row_id in enumerate(row_ids)}
        changed = schedule.put_rows(rows, stamp)
        total = Changed(total.applied + changed.applied, total.ignored + changed.ignored)
        count += len(row_ids)
        report(count)
    return total
