"""Schedule and state of a table with partitions: those of its parts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.claim import Changed
from rowcache_tasks.schedule.growth import Growth
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.table import TableState

T = TypeVar("T")


class PartitionedSchedule(Schedule):
    """Schedule of a table whose rows are divided among parts. Only rows are changed through it."""

    def __init__(self, client: "redis.Redis", table: Table) -> None:
        self.table = table
        self._client = client
        self.parts: Mapping[str, Schedule] = {part.place: Schedule(client, part) for part in table.parts}
        for part in self.parts.values():
            part.wakes = False  # once for all

    def divide(self, row_ids: Iterable[str]) -> list[tuple[Schedule, list[str]]]:
        """Return the rows of each part that has any."""
        return [(self.parts[part.place], some) for part, some in self.table.divide(row_ids)]

    def put_rows(self, rows: Mapping[str, tuple[float, float]], stamp: str = "", *, only_new: bool = False) -> Changed:
        """Schedule rows, as a Schedule does."""
        total = Changed()
        for part, row_ids in self.divide(rows):
            total += part.put_rows({row_id: rows[row_id] for row_id in row_ids}, stamp, only_new=only_new)
        self._wake()
        return total

    def drop_rows(self, row_ids: Iterable[str], stamp: str = "") -> Changed:
        """Unschedule rows, as a Schedule does."""
        total = Changed()
        for part, some in self.divide(row_ids):
            total += part.drop_rows(some, stamp)
        return total

    def touch_rows(self, row_ids: Iterable[str]) -> int:
        """Make rows due, as a Schedule does."""
        touched = sum(part.touch_rows(some) for part, some in self.divide(row_ids))
        self._wake()
        return touched


class GrowingSchedule(PartitionedSchedule):
    """Schedule of a table that grows: a change is made where the rows are. Claims have the part that they are of."""

    def __init__(self, client: "redis.Redis", table: Table) -> None:
        super().__init__(client, table)
        self._growth = Growth(client, table)

    def put_rows(self, rows: Mapping[str, tuple[float, float]], stamp: str = "", *, only_new: bool = False) -> Changed:
        """Schedule rows, as a Schedule does."""
        return self._apply(rows, lambda schedule: schedule.put_rows(rows, stamp, only_new=only_new))

    def drop_rows(self, row_ids: Iterable[str], stamp: str = "") -> Changed:
        """Unschedule rows, as a Schedule does."""
        found = [*row_ids]
        return self._apply(found, lambda schedule: schedule.drop_rows(found, stamp))

    def touch_rows(self, row_ids: Iterable[str]) -> int:
        """Make rows due, as a Schedule does."""
        found = [*row_ids]
        return self._apply(found, lambda schedule: schedule.touch_rows(found))

    def divide_now(self, row_ids: Iterable[str]) -> list[tuple[Schedule, list[str]]]:
        """Return the rows of each part that has any, where they are now."""
        found = [*row_ids]
        return self._apply(found, lambda schedule: schedule.divide(found))

    def _apply(self, row_ids: Iterable[str], change: Callable[[Schedule], T]) -> T:
        return self._growth.apply(row_ids, lambda table: change(open_schedule(self._client, table)))


class PartitionedState(TableState):
    """State of a table with partitions: each change applies to all parts, with one stamp."""

    def __init__(self, client: "redis.Redis", table: Table) -> None:
        self._parts: Sequence[TableState] = [TableState(client, part) for part in table.parts]

    def pause_table(self, is_paused: bool, stamp: str = "") -> bool:
        """Pause or resume all parts; return whether any did. A part that is left stays closed."""
        parts = [part for part in self._parts if is_paused or not part.is_closed()]
        return sum(part.pause_table(is_paused, stamp) for part in parts) > 0

    def paused_s(self) -> float | None:
        """Return for how many seconds the table has been paused, in any part that is not closed; None: it is not."""
        paused = [part.paused_s() for part in self._parts if not part.is_closed()]
        return max((seconds for seconds in paused if seconds is not None), default=None)

    def drop_table(self, stamp: str, limit: int = 1000) -> int:
        """Ignore older changes, in each part."""
        return sum(part.drop_table(stamp, limit) for part in self._parts)

    def count_rows(self) -> int:
        """Count the scheduled rows."""
        return sum(part.count_rows() for part in self._parts)

    def scan_row_ids(self) -> Iterator[list[str]]:
        """Yield the ids of all rows, part after part."""
        for part in self._parts:
            yield from part.scan_row_ids()


def divide_now(schedule: Schedule, row_ids: Iterable[str]) -> list[tuple[Schedule, list[str]]]:
    """Return the rows of each part that has any; of a table that grows, where they are now."""
    return schedule.divide_now(row_ids) if isinstance(schedule, GrowingSchedule) else schedule.divide(row_ids)


def open_schedule(client: "redis.Redis", table: Table) -> Schedule:
    """Return the schedule of a table, with partitions or without."""
    if table.growing_from:
        return GrowingSchedule(client, table)
    return PartitionedSchedule(client, table) if table.partitions > 1 else Schedule(client, table)


def open_state(client: "redis.Redis", table: Table) -> TableState:
    """Return the state of a table, with partitions or without."""
    return PartitionedState(client, table) if table.partitions > 1 else TableState(client, table)
