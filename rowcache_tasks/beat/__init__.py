"""Scheduler of `celery beat` that dispatches due rows."""

from rowcache_tasks.beat.scheduler import DispatchScheduler

__all__ = ["DispatchScheduler"]
