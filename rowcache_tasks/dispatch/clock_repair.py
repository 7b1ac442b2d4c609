"""Own the repair of a schedule after the server's clock stepped back: a failover, or a clock that was set.

Rows that were due in ten seconds would otherwise be due in an hour and ten seconds. Must not know Celery.
"""

import logging
import time

import redis

from rowcache_tasks.schedule.rows import Backoff, Schedule

__all__ = ["Clock"]

logger = logging.getLogger(__name__)

SCAN_COUNT = 1000
"""Rows that are searched in one call of `check`, about; Redis looks at so many in one step, in about 1 ms."""


class Clock:
    """Watches the server's clock for the schedule of one table."""

    def __init__(self, schedule: Schedule, lease_s: float, backoff: Backoff, interval_s: float = 1.0) -> None:
        self._schedule = schedule
        self._name = schedule.table.name
        self._lease_s = lease_s
        self._backoff = backoff
        self._interval_s = interval_s
        self._check_at = 0.0
        self._cursor: int | None = None
        self._repaired = 0
        self._is_failing = False

    def check(self) -> bool:
        """Look at the clock, every interval_s seconds; after a step, search about SCAN_COUNT rows a call.

        Returns whether there is more to repair; raises nothing when Redis is away. If the process dies meanwhile,
        another one begins anew: the step counts as mended only at the end. Two that repair at once do no harm.
        """
        if self._cursor is None and time.monotonic() < self._check_at:
            return False
        self._check_at = time.monotonic() + self._interval_s
        try:
            is_repairing = self._has_stepped() and self._repair()
            self._is_failing = False
        except redis.RedisError as error:
            if not self._is_failing:
                logger.warning("the clock of Redis cannot be watched for %s: %s", self._name, error)
            self._is_failing = True
            return False
        return is_repairing

    def _has_stepped(self) -> bool:
        if self._cursor is None and self._schedule.check_clock():
            logger.warning("the clock of Redis stepped back: %s is searched for rows due too late", self._name)
            self._cursor, self._repaired = 0, 0
        return self._cursor is not None

    def _repair(self) -> bool:
        """Repair some rows; return whether there are more."""
        cursor, row_ids = self._schedule.scan(self._cursor or 0, SCAN_COUNT)
        self._repaired += self._schedule.repair_rows(row_ids, self._lease_s, self._backoff)
        self._cursor = cursor or None
        if self._cursor is None:
            self._schedule.check_clock(is_settled=True)
            logger.warning("%d rows of %s were due too late, now within their delay", self._repaired, self._name)
        return self._cursor is not None
