"""Use case: unschedule every row of a table and remove its values."""

from collections.abc import Callable
from dataclasses import dataclass

from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.table import TableState

BATCH = 200  # rows in one script call: about 1 ms


@dataclass(frozen=True, slots=True)
class Cleared:
    """Outcome of a drop, as counts of rows."""

    dropped: int
    kept: int  # scheduled after the drop was enqueued


def drop_table(schedule: Schedule, state: TableState, stamp: str, report: Callable[[int, int], None]) -> Cleared:
    """Unschedule every row and remove every value, in batches; call `report` with the rows dropped and kept so far.

    Rows that were scheduled after the stamp stay. Changes that were enqueued before it and arrive later schedule
    nothing. Refreshes in flight write nothing back. A repetition after a failure does no harm. Rows that another
    program has written into the keys have no time of change, and go.
    """
    dropped = kept = 0
    state.drop_table(stamp)
    for found in state.scan_row_ids():
        for row_ids in cut(found, BATCH):
            changed = schedule.drop_rows(row_ids, stamp)
            dropped, kept = dropped + changed.applied, kept + changed.ignored
            state.drop_table(stamp)
            report(dropped, kept)
    while state.drop_table(stamp):
        pass
    return Cleared(dropped, kept)
