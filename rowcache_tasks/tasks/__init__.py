"""Celery tasks: schedule changes for applications, refresh_row for dispatchers.

Applications call `.delay(…)`. Arguments are checked there and in the worker: a mistake shows where it is made. A
schedule change carries the time at which it was enqueued, by the clock of Redis: in whatever order workers run the
changes of a row, the last one enqueued stands.

The name of a task in messages is rowcache_tasks.tasks.<function>, in whatever module the function is.
"""

import rowcache_tasks.celery  # noqa: F401 first: without Celery, it raises the error that says so
from rowcache_tasks.tasks.change import ScheduleChange, changing, now_stamp
from rowcache_tasks.tasks.refresh import refresh_row
from rowcache_tasks.tasks.row import refresh_now, schedule_row, schedule_rows, unschedule_row, unschedule_rows
from rowcache_tasks.tasks.table import (
    audit_table,
    drop_table,
    pause_table,
    reconcile_table,
    resume_table,
    schedule_query,
    schedule_table,
)

__all__ = ["audit_table", "drop_table", "pause_table", "reconcile_table", "refresh_now", "refresh_row", "resume_table"]
__all__ += ["schedule_query", "schedule_row", "schedule_rows", "schedule_table", "unschedule_row", "unschedule_rows"]
__all__ += ["ScheduleChange", "changing", "now_stamp"]
