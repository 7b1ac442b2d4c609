"""Changed rows of one table that wait to be made due."""

import logging
import time
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from rowcache_tasks.errors.text import show_count
from rowcache_tasks.schedule.cut import SCRIPT_BATCH
from rowcache_tasks.schedule.load import Load
from rowcache_tasks.schedule.position import need_position
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.worker.pace import Pace

if TYPE_CHECKING:
    import redis

    from rowcache_tasks.database.notification import Changes

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000  # changed rows that wait while Redis is away; more are left to their interval
STEP = 5 * SCRIPT_BATCH  # rows that are made due in one round trip
LOG_S = 60.0  # pause between two lines about rows that are left to their interval


class Touches:
    """The rows, and the pace of those of bursts."""

    def __init__(
        self,
        client: "redis.Redis",
        schedule: Schedule,
        load: Callable[[], Load],
        position: Callable[[], str] = str,
    ) -> None:
        self._client = client
        self._schedule = schedule
        self._pace = Pace(load)
        self._position = position  # of the database, after the changes that were noted
        self.name = schedule.table.name
        self._rows: dict[str, None] = {}
        self._left = 0
        self._bulk = 0
        self._next_log = 0.0

    def note(self, row_ids: "Changes") -> None:
        """Add changed rows; above MAX_WAITING they are only counted. None: a change of unknown rows, or of too many."""
        self._bulk += row_ids is None
        for row_id in row_ids or ():
            if len(self._rows) < MAX_WAITING or row_id in self._rows:
                self._rows[row_id] = None
            else:
                self._left += 1

    def leave(self, rows: int) -> None:
        """Count rows that are left to their interval."""
        self._left += rows

    def flush(self) -> None:
        """Make the rows due, those of a burst one batch after the other. Raises redis.RedisError, SourceError."""
        is_burst = len(self._rows) > SCRIPT_BATCH
        while self._rows:
            some = list(islice(self._rows, STEP))
            if self._schedule.table.replica:
                need_position(self._client, self._schedule.table, some, self._position())
            self._pace.begin(len(some), is_burst=is_burst)
            self._pace.end(self._schedule.touch_rows(some, self._pace.wait_s))
            for row_id in some:
                del self._rows[row_id]
        if (self._left or self._bulk) and time.monotonic() > self._next_log:
            logger.warning(
                "%s: %s and %s are left to the intervals: they changed too fast",
                self._schedule.table.setting,
                show_count(self._left, "row"),
                show_count(self._bulk, "statement of many rows", "statements of many rows"),
            )
            self._left = self._bulk = 0
            self._next_log = time.monotonic() + LOG_S
