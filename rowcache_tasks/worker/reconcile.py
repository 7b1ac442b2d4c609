"""Use case: bring the schedule of a table in line with the rows of the database.

Only batches are in memory. A repetition after a failure goes on with the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rowcache_tasks.errors import SourceError
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.table import TableState
from rowcache_tasks.worker.admission import Admit, admit_all
from rowcache_tasks.worker.seed import SEED_BATCH, spread

if TYPE_CHECKING:
    from rowcache_tasks.database.source import Source

GRACE_S = 60.0  # a row that was scheduled so long before the commit of its transaction is not dropped


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Outcome of a reconciliation, as counts of rows."""

    added: int  # rows of the database that were not scheduled, and are now
    dropped: int  # rows that the database does not have, scheduled or left in the cache
    kept: int  # rows of the database that were scheduled, and others that were scheduled just now


def reconcile_table(
    schedule: Schedule,
    state: TableState,
    source: "Source",
    delay: float,
    stamp: str,
    report: Callable[[int, int, int], None],
    admit: Admit = admit_all,
) -> Reconciled:
    """Schedule the rows of the database that are not, with `delay`; drop the rows that it does not have, with values.

    Scheduled rows keep their delay and due time. Changes made after the stamp stand, and rows scheduled up to GRACE_S
    before it are not dropped. A row id that cannot be a key has no row; another text for a key ("042") has the row of
    that key. `report` gets the number of rows compared, added and dropped so far. Raises SourceError, also for a table
    without a row: more likely it is the wrong one.
    """
    added = dropped = kept = compared = 0
    for row_ids in source.stream_row_ids(SEED_BATCH):
        admit(dict.fromkeys(row_ids, delay))
        changed = schedule.put_rows(spread(dict.fromkeys(row_ids, delay), compared), stamp, only_new=True)
        added, kept, compared = added + changed.applied, kept + changed.kept, compared + len(row_ids)
        report(compared, added, dropped)
    if not compared:
        raise SourceError(
            f"{schedule.table.setting}: {schedule.table.table!r} has no row, so nothing was dropped: if that is right, "
            "drop the table"
        )
    before = f"{float(stamp) - GRACE_S:.6f}"
    for found in state.scan_row_ids():
        for row_ids in cut(found, SEED_BATCH):
            gone = schedule.drop_rows(source.find_missing(row_ids), before)
            dropped, kept, compared = dropped + gone.applied, kept + gone.ignored, compared + len(row_ids)
            report(compared, added, dropped)
    return Reconciled(added, dropped, kept)
