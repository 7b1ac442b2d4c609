"""Tasks that change the schedule of named rows. ScheduleChange writes keys as row ids, and delays as seconds."""

from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from rowcache_tasks.celery.process import current_runtime
from rowcache_tasks.schedule.arguments import Delay
from rowcache_tasks.schedule.position import need_position
from rowcache_tasks.schedule.row_id import Key, Many
from rowcache_tasks.tasks.change import change, changing


class Delays(Protocol):
    """Dictionary of key -> delay, for type checkers: the key type of a Mapping is invariant."""

    def items(self) -> AbstractSet[tuple[Key, Delay]]:
        """Return the pairs."""
        ...


@change
def schedule_row(table: str, row_id: Key, delay: Delay, *, position: str = "", stamp: str = "") -> dict[str, int]:
    """Cache a row from now on, refreshed every `delay`; return {"applied": n, "ignored": n}.

    `position`, of a table with "replica": that of the primary after the last change of the row.
    """
    return put_delays(table, {row_id: delay}, stamp, position)


@change
def schedule_rows(table: str, delays: Delays, *, position: str = "", stamp: str = "") -> dict[str, int]:
    """Cache rows from now on: key -> time between refreshes; return {"applied": n, "ignored": n}."""
    return put_delays(table, delays, stamp, position)


@change
def unschedule_row(table: str, row_id: Key, *, stamp: str = "") -> dict[str, int]:
    """Stop caching a row and remove its value at once; return {"applied": n, "ignored": n}."""
    return drop(table, [row_id], stamp)


@change
def unschedule_rows(table: str, row_ids: Many[Key], *, stamp: str = "") -> dict[str, int]:
    """Stop caching rows and remove their values at once; return {"applied": n, "ignored": n}."""
    return drop(table, row_ids, stamp)


@change
def refresh_now(table: str, row_ids: Many[Key], *, position: str = "", stamp: str = "") -> dict[str, int]:
    """Refresh scheduled rows at once, as after a change; return {"touched": n, "unscheduled": n}.

    `position`, of a table with "replica": that of the primary after the change. A value that a replica has before it is
    not cached.
    """
    listed: Any = row_ids
    with changing(table) as schedule:
        need_position(current_runtime().client, schedule.table, listed, position)
        touched = schedule.touch_rows(listed)
    return {"touched": touched, "unscheduled": len(listed) - touched}


def put_delays(table: str, delays: Any, stamp: str, position: str) -> dict[str, int]:
    """Schedule rows, row id -> seconds, due now."""
    with changing(table, stamp) as schedule:
        need_position(current_runtime().client, schedule.table, delays, position)
        current_runtime().admission.admit(schedule.table, delays)
        rows = {row_id: (delay, 0.0) for row_id, delay in delays.items()}
        return schedule.put_rows(rows, stamp).as_result()


def drop(table: str, row_ids: Any, stamp: str) -> dict[str, int]:
    """Unschedule rows."""
    with changing(table, stamp) as schedule:
        return schedule.drop_rows(row_ids, stamp).as_result()
