"""Tasks that change the schedule of named rows."""

from collections.abc import Mapping, Sequence

from rowcache_tasks.celery import app
from rowcache_tasks.tasks.change import ScheduleChange, changing


@app.task(name="rowcache_tasks.tasks.schedule_row", base=ScheduleChange)
def schedule_row(table: str, row_id: str, delay: float, *, stamp: str = "") -> dict[str, int]:
    """Cache a row from now on, refreshed every `delay` seconds; return {"applied": n, "ignored": n}."""
    return put_delays(table, {row_id: delay}, stamp)


@app.task(name="rowcache_tasks.tasks.schedule_rows", base=ScheduleChange)
def schedule_rows(table: str, delays: Mapping[str, float], *, stamp: str = "") -> dict[str, int]:
    """Cache rows from now on: row id -> seconds between refreshes; return {"applied": n, "ignored": n}."""
    return put_delays(table, delays, stamp)


@app.task(name="rowcache_tasks.tasks.unschedule_row", base=ScheduleChange)
def unschedule_row(table: str, row_id: str, *, stamp: str = "") -> dict[str, int]:
    """Stop caching a row and remove its value at once; return {"applied": n, "ignored": n}."""
    return drop(table, [row_id], stamp)


@app.task(name="rowcache_tasks.tasks.unschedule_rows", base=ScheduleChange)
def unschedule_rows(table: str, row_ids: Sequence[str], *, stamp: str = "") -> dict[str, int]:
    """Stop caching rows and remove their values at once; return {"applied": n, "ignored": n}."""
    return drop(table, row_ids, stamp)


@app.task(name="rowcache_tasks.tasks.refresh_now", base=ScheduleChange)
def refresh_now(table: str, row_ids: Sequence[str], *, stamp: str = "") -> dict[str, int]:
    """Refresh scheduled rows at once, as after a change; return {"touched": n, "unscheduled": n}."""
    with changing(table) as schedule:
        touched = schedule.touch_rows(row_ids)
    return {"touched": touched, "unscheduled": len(row_ids) - touched}


def put_delays(table: str, delays: Mapping[str, float], stamp: str) -> dict[str, int]:
    """Schedule rows, due now."""
    with changing(table) as schedule:
        rows = {row_id: (delay, 0.0) for row_id, delay in delays.items()}
        return schedule.put_rows(rows, stamp).as_result()


def drop(table: str, row_ids: Sequence[str], stamp: str) -> dict[str, int]:
    """Unschedule rows."""
    with changing(table) as schedule:
        return schedule.drop_rows(row_ids, stamp).as_result()
