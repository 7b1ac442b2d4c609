"""Use cases of a whole table: seed, also by a query, reconcile, drop.

Row ids are streamed, a batch in memory at a time. A repetition after a failure does no harm.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rowcache_tasks.config.query import Query
from rowcache_tasks.errors import SourceError
from rowcache_tasks.schedule.claim import Changed
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.table import TableState
from rowcache_tasks.worker.admission import Admission, Admit

if TYPE_CHECKING:
    from rowcache_tasks.database.source import Source

GOLDEN_RATIO = 0.6180339887498949
BATCH = 200  # rows in one script call, 1 or 2 ms: refreshes and readers get their turn in between
ALONE = 4_000
"""So many rows start one by one. Of the rows after them, BATCH that the database returned together start together.

They stay one batch: one message and one query of neighbouring keys instead of many.
"""
GRACE_S = 60.0  # a row that was scheduled so long before the commit of its transaction is not dropped

Report = Callable[[int], None]  # called with the number of rows so far, after each batch


def spread(delays: dict[str, float], count: int) -> dict[str, tuple[float, float]]:
    """Return for each row its delay and the seconds until its first refresh; `count` rows were spread before.

    The n-th row starts at the fraction n * golden ratio (mod 1) of its delay; from ALONE on, n counts batches. That is
    even for any number of rows. A batch that is not full may share the time of the next.
    """
    if count >= ALONE:
        share = count // BATCH * GOLDEN_RATIO % 1
        return {row_id: (delay, share * delay) for row_id, delay in delays.items()}
    return {
        row_id: (delay, (count + place) * GOLDEN_RATIO % 1 * delay)
        for place, (row_id, delay) in enumerate(delays.items())
    }


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Outcome of a reconciliation, as counts of rows."""

    added: int  # rows of the database that were not scheduled, and are now
    dropped: int  # rows that the database does not have, scheduled or left in the cache
    kept: int  # rows of the database that were scheduled, and others that were scheduled just now


@dataclass(frozen=True, slots=True)
class WholeTable:
    """A table, its rows in the database, and the check of what is scheduled."""

    schedule: Schedule
    state: TableState
    source: "Source"
    admission: Admission

    def seed(self, count: int | None, delay: float, stamp: str, report: Report) -> Changed:
        """Schedule all `count` rows with the same delay, the first refreshes spread evenly over one delay."""
        admit = self.admission.admit_rows_of(self.schedule.table, count, delay)
        batches = (dict.fromkeys(row_ids, delay) for row_ids in self.source.stream_row_ids(BATCH))
        return self._seed(batches, stamp, report, admit)

    def seed_query(self, query: Query, delay: float, stamp: str, report: Report) -> Changed:
        """Schedule the rows that a query returns with their own delay, or else with `delay`; spread likewise."""
        found = self.source.stream_query(query, BATCH)
        batches = ({row_id: delay if own is None else own for row_id, own in rows} for rows in found)
        return self._seed(batches, stamp, report, partial(self.admission.admit, self.schedule.table))

    def _seed(self, batches: Iterable[dict[str, float]], stamp: str, report: Report, admit: Admit) -> Changed:
        """Schedule batches of row id -> delay; those before a batch that is not admitted stay scheduled."""
        total, count = Changed(), 0
        for delays in batches:
            admit(delays)
            total += self.schedule.put_rows(spread(delays, count), stamp)
            count += len(delays)
            report(count)
        return total

    def reconcile(self, delay: float, stamp: str, report: Callable[[int, int, int], None]) -> Reconciled:
        """Schedule the rows of the database that are not, with `delay`; drop the rows that it does not have.

        Scheduled rows keep their delay and due time. Changes made after the stamp stand, and rows scheduled up to
        GRACE_S before it are not dropped. A row id that cannot be a key has no row; another text for a key ("042") has
        the row of that key. `report` gets the number of rows compared, added and dropped so far. Raises SourceError,
        also for a table without a row: more likely it is the wrong one.
        """
        added = dropped = kept = compared = 0
        for row_ids in self.source.stream_row_ids(BATCH):
            delays = dict.fromkeys(row_ids, delay)
            self.admission.admit(self.schedule.table, delays, only_new=True)
            changed = self.schedule.put_rows(spread(delays, compared), stamp, only_new=True)
            added, kept, compared = added + changed.applied, kept + changed.kept, compared + len(row_ids)
            report(compared, added, dropped)
        if not compared:
            name = f"{self.schedule.table.setting}: {self.schedule.table.table!r}"
            raise SourceError(f"{name} has no row, so nothing was dropped: if that is right, drop the table")
        before = f"{float(stamp) - GRACE_S:.6f}"
        for found in self.state.scan_row_ids():
            for row_ids in cut(found, BATCH):
                gone = self.schedule.drop_rows(self.source.find_missing(row_ids), before)
                dropped, kept, compared = dropped + gone.applied, kept + gone.ignored, compared + len(row_ids)
                report(compared, added, dropped)
        return Reconciled(added, dropped, kept)


@dataclass(frozen=True, slots=True)
class Cleared:
    """Outcome of a drop, as counts of rows."""

    dropped: int
    kept: int  # scheduled after the drop was enqueued


def drop_table(schedule: Schedule, state: TableState, stamp: str, report: Callable[[int, int], None]) -> Cleared:
    """Unschedule every row and remove every value, in batches; call `report` with the rows dropped and kept so far.

    Rows that were scheduled after the stamp stay. Changes that were enqueued before it and arrive later schedule
    nothing. Refreshes in flight write nothing back. Rows that another program has written into the keys have no time of
    change, and go.
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
