"""Tasks that change the schedule of named rows."""

from collections.abc import Mapping, Sequence

from rowcache_tasks.celery import app
from rowcache_tasks.celery.process import current_runtime
from rowcache_tasks.schedule.arguments import parse_delay, parse_delays, parse_row_id, parse_row_ids, parse_stamp
from rowcache_tasks.tasks.change import ScheduleChange, changing

__all__ = ["refresh_now", "schedule_row", "schedule_rows", "unschedule_row", "unschedule_rows"]


def parse_one(table: str, row_id: object) -> list[str]:
    """Parse the arguments (table, row id)."""
    current_runtime().settings.table(table)
    return [parse_row_id(row_id)]


def parse_many(table: str, row_ids: object) -> list[str]:
    """Parse the arguments (table, row ids)."""
    current_runtime().settings.table(table)
    return parse_row_ids(row_ids)


def parse_row(table: str, row_id: object, delay: object) -> dict[str, float]:
    """Parse the arguments (table, row id, delay)."""
    current_runtime().settings.table(table)
    return {parse_row_id(row_id): parse_delay(delay)}


def parse_rows(table: str, delays: object) -> dict[str, float]:
    """Parse the arguments (table, {row id: delay})."""
    current_runtime().settings.table(table)
    return parse_delays(delays)


@app.task(name="rowcache_tasks.tasks.schedule_row", base=ScheduleChange, parse=staticmethod(parse_row))
def schedule_row(table: str, row_id: str, delay: float, *, stamp: str = "") -> dict[str, int]:
    """Cache a row from now on, refreshed every `delay` seconds; return {"applied": n, "ignored": n}."""
    return put_delays(table, parse_row(table, row_id, delay), stamp)


@app.task(name="rowcache_tasks.tasks.schedule_rows", base=ScheduleChange, parse=staticmethod(parse_rows))
def schedule_rows(table: str, delays: Mapping[str, float], *, stamp: str = "") -> dict[str, int]:
    """Cache rows from now on: row id -> seconds between refreshes; return {"applied": n, "ignored": n}."""
    return put_delays(table, parse_rows(table, delays), stamp)


@app.task(name="rowcache_tasks.tasks.unschedule_row", base=ScheduleChange, parse=staticmethod(parse_one))
def unschedule_row(table: str, row_id: str, *, stamp: str = "") -> dict[str, int]:
    """Stop caching a row and remove its value at once; return {"applied": n, "ignored": n}."""
    return drop(table, parse_one(table, row_id), stamp)


@app.task(name="rowcache_tasks.tasks.unschedule_rows", base=ScheduleChange, parse=staticmethod(parse_many))
def unschedule_rows(table: str, row_ids: Sequence[str], *, stamp: str = "") -> dict[str, int]:
    """Stop caching rows and remove their values at once; return {"applied": n, "ignored": n}."""
    return drop(table, parse_many(table, row_ids), stamp)


@app.task(name="rowcache_tasks.tasks.refresh_now", base=ScheduleChange, parse=staticmethod(parse_many))
def refresh_now(table: str, row_ids: Sequence[str], *, stamp: str = "") -> dict[str, int]:
    """Refresh scheduled rows at once, as after a change; return {"touched": n, "unscheduled": n}."""
    wanted = parse_many(table, row_ids)
    with changing(table) as schedule:
        touched = schedule.touch_rows(wanted)
    return {"touched": touched, "unscheduled": len(wanted) - touched}


def put_delays(table: str, delays: Mapping[str, float], stamp: str) -> dict[str, int]:
    """Schedule rows, due now."""
    with changing(table) as schedule:
        rows = {row_id: (delay, 0.0) for row_id, delay in delays.items()}
        return schedule.put_rows(rows, parse_stamp(stamp)).as_result()


def drop(table: str, row_ids: Sequence[str], stamp: str) -> dict[str, int]:
    """Unschedule rows."""
    with changing(table) as schedule:
        return schedule.drop_rows(row_ids, parse_stamp(stamp)).as_result()
