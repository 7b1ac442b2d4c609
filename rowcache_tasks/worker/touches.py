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
REST = 3.0  # times as long as rows of a burst took, Redis is left to others
AHEAD_S = 1.0  # the last rows of a burst that were made due are due so much later: the pace follows the capacity
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
        self._pace = Pace(load, self._count_due)
        self._position = position  # of the database, after the changes that were noted
        self.name = schedule.table.name
        self._rows: dict[str, None] = {}
        self._left = 0
        self._bulk = 0
        self._next_log = 0.0

    def _count_due(self) -> int:
        """Count the rows that are due and not claimed."""
        seconds, microseconds = self._client.time()
        with self._client.pipeline(transaction=False) as pipeline:
            for part in self._schedule.parts.values():
                pipeline.zcount(part.table.keys.schedule, "-inf", int(seconds) + int(microseconds) / 1e6)
            return sum(pipeline.execute())

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

    def flush(self, *, is_burst: bool = False) -> float:
        """Make the rows due, those of a burst one batch after the other; return the seconds of rest after a burst.

        More than SCRIPT_BATCH rows are one in any case. Raises redis.RedisError, SourceError.
        """
        began, is_burst = time.monotonic(), is_burst or len(self._rows) > SCRIPT_BATCH
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
        if not is_burst:
            return 0.0
        return max(REST * (time.monotonic() - began), self._pace.ahead_s - AHEAD_S)
