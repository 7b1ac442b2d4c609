"""Use cases: schedule every row of a table, or the rows that a query returns.

Row ids are streamed, a batch in memory at a time. A repetition after a failure does no harm.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rowcache_tasks.config.query import Query
from rowcache_tasks.schedule.claim import Changed
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.worker.admission import Admit, admit_all

if TYPE_CHECKING:
    from rowcache_tasks.database.source import Source

GOLDEN_RATIO = 0.6180339887498949

SEED_BATCH = 200  # rows in one script call, about 2 ms: refreshes and readers get their turn in between

ALONE = 4_000
"""So many rows start one by one. Of the rows after them, SEED_BATCH that the database returned together start together.

They stay one batch: one message and one query of neighbouring keys instead of many.
"""

Report = Callable[[int], None]  # called with the number of rows so far, after each batch


def seed_table(
    schedule: Schedule, source: "Source", delay: float, stamp: str, report: Report, admit: Admit = admit_all
) -> Changed:
    """Schedule all rows with the same delay, the first refreshes spread evenly over one delay."""
    batches = (dict.fromkeys(row_ids, delay) for row_ids in source.stream_row_ids(SEED_BATCH))
    return seed_batches(schedule, batches, stamp, report, admit)


def seed_query(
    schedule: Schedule,
    source: "Source",
    query: Query,
    delay: float,
    stamp: str,
    report: Report,
    admit: Admit = admit_all,
) -> Changed:
    """Schedule the rows that a query returns with their own delay, or else with `delay`; spread likewise."""
    batches = (
        {row_id: delay if own is None else own for row_id, own in rows}
        for rows in source.stream_query(query, SEED_BATCH)
    )
    return seed_batches(schedule, batches, stamp, report, admit)


def seed_batches(
    schedule: Schedule, batches: Iterable[dict[str, float]], stamp: str, report: Report, admit: Admit
) -> Changed:
    """Schedule batches of row id -> delay; those before a batch that is not admitted stay scheduled."""
    total, count = Changed(), 0
    for delays in batches:
        admit(delays)
        total += schedule.put_rows(spread(delays, count), stamp)
        count += len(delays)
        report(count)
    return total


def spread(delays: dict[str, float], count: int) -> dict[str, tuple[float, float]]:
    """Return for each row its delay and the seconds until its first refresh; `count` rows were spread before.

    The n-th row starts at the fraction n * golden ratio (mod 1) of its delay; from ALONE on, n counts batches. That is
    even for any number of rows. A batch that is not full may share the time of the next.
    """
    if count >= ALONE:
        share = count // SEED_BATCH * GOLDEN_RATIO % 1
        return {row_id: (delay, share * delay) for row_id, delay in delays.items()}
    return {
        row_id: (delay, (count + place) * GOLDEN_RATIO % 1 * delay)
        for place, (row_id, delay) in enumerate(delays.items())
    }
