"""Repair of a schedule after the clock of Redis stepped back.

After a failover, or when a clock was set, a row that was due in ten seconds would be due in an hour and ten seconds.
"""

import logging
import time

import redis

from rowcache_tasks.schedule.row_state import Backoff
from rowcache_tasks.schedule.rows import Schedule

logger = logging.getLogger(__name__)

SCAN_COUNT = 1000  # rows searched in one call of `run`, about; Redis looks at so many in about 1 ms


class ClockRepair:
    """Watches the clock of Redis for one table, and repairs the schedule after a step back."""

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

    def run(self) -> bool:
        """Check the clock, once in interval_s seconds; after a step, repair about SCAN_COUNT rows a call.

        Returns whether there is more to repair; raises nothing of Redis's. If the process dies in between, another one
        begins anew: the step counts as repaired only at the end. Two repairs at once do no harm.
        """
        if self._cursor is None and time.monotonic() < self._check_at:
            return False
        self._check_at = time.monotonic() + self._interval_s
        try:
            has_more = self._has_stepped() and self._repair()
        except (redis.ConnectionError, redis.TimeoutError):
            return False  # the dispatcher warns of the same outage
        except redis.RedisError as error:
            if not self._is_failing:
                logger.warning("clock_unknown: a step back of the clock is not repaired in %s: %s", self._name, error)
            self._is_failing = True
            return False
        self._is_failing = False
        return has_more

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
