"""Own the tasks that applications and dispatchers send. Thin: each checks its arguments and calls one operation.

Applications call `.delay(…)`; arguments are checked both there and in the worker, so that a mistake shows where it is
made. A schedule change carries the time at which it was enqueued, by the clock of Redis: in whatever order workers run
several changes of a row, the last one enqueued is what stands.

The names of tasks in messages are rowcache_tasks.tasks.<function>, whatever module here holds the function.
"""

from rowcache_tasks.tasks.change import ScheduleChange, changing, now_stamp
from rowcache_tasks.tasks.refresh import refresh_row
from rowcache_tasks.tasks.row import refresh_now, schedule_row, schedule_rows, unschedule_row, unschedule_rows
from rowcache_tasks.tasks.table import (
    drop_table,
    pause_table,
    reconcile_table,
    resume_table,
    schedule_query,
    schedule_table,
)

__all__ = [
    "ScheduleChange",
    "changing",
    "drop_table",
    "now_stamp",
    "pause_table",
    "reconcile_table",
    "refresh_now",
    "refresh_row",
    "resume_table",
    "schedule_query",
    "schedule_row",
    "schedule_rows",
    "schedule_table",
    "unschedule_row",
    "unschedule_rows",
]
