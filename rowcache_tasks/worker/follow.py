"""Refresh of rows that have changed in the database."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import redis

from rowcache_tasks.errors import RowCacheError
from rowcache_tasks.errors.text import one_line, show_count, show_duration
from rowcache_tasks.schedule.cut import SCRIPT_BATCH
from rowcache_tasks.schedule.load import Load
from rowcache_tasks.schedule.position import need_position
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.worker.pace import Pace

if TYPE_CHECKING:
    from rowcache_tasks.database.notification import Changes, Listener

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000  # changed rows of a table that wait while Redis is away; more are left to their interval
RETRY_S = 1.0  # pause after an error of the source or of Redis
MAX_RETRY_S = 10.0  # longest pause before a connection that listens is opened again
WAIT_S = 1.0  # longest wait for a notification
LOG_S = 60.0  # pause between two lines about rows that are left to their interval


class Touches:
    """Changed rows of one table that wait to be made due."""

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

    def flush(self) -> None:
        """Make the rows due, those of a burst one batch after the other. Raises redis.RedisError, SourceError."""
        is_burst = len(self._rows) > SCRIPT_BATCH
        while self._rows:
            batch = list(islice(self._rows, SCRIPT_BATCH))
            if self._schedule.table.replica:
                need_position(self._client, self._schedule.table, batch, self._position())
            wait_s = self._pace.wait_s(len(batch), is_burst=is_burst)
            self._pace.count(self._schedule.touch_rows(batch, wait_s))
            for row_id in batch:
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


class Outage:
    """Log of a server that is away: one line when it goes, one when it is back."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._since: dict[str, float] = {}

    def begin(self, part: str, error: Exception) -> None:
        """Note that a part, such as a table, cannot be used."""
        if not self._since:
            reason = one_line(str(error).rstrip("."))
            logger.warning("%s is away, so rows are refreshed by their interval: %s", self._name, reason)
        self._since.setdefault(part, time.monotonic())

    def end(self, part: str) -> None:
        """Note that a part works."""
        since = self._since.pop(part, None)
        if since is not None and not self._since:
            logger.warning("%s is back after %s", self._name, show_duration(time.monotonic() - since))


class PollingFollower:
    """Changes of tables by a source that is asked for them: a column that grows with each, or a replication slot.

    `changes` begins a pass, which yields pages. The next page is read when the rows of the last one were made due.
    """

    def __init__(
        self,
        changes: Callable[[], Iterator[Iterable[tuple[str, "Changes"]]]],
        touches: Sequence[Touches],
        every_s: float,
        outages: tuple[Outage, Outage],
    ) -> None:
        self._changes = changes
        self._touches = {table.name: table for table in touches}
        self._every_s = every_s
        self._database, self._redis = outages
        self._name = touches[0].name
        self._pass: Iterator[Iterable[tuple[str, Changes]]] | None = None
        self._next = 0.0
        self._look_s = 0.0  # the longest wait for a page of the pass: the next pass begins no sooner after it

    def turn(self) -> float:
        """Read and touch up to one page; return the seconds until the next turn."""
        try:
            for table in self._touches.values():
                table.flush()
            self._redis.end(self._name)
        except redis.RedisError as error:
            self._redis.begin(self._name, error)
            return RETRY_S
        except RowCacheError as error:
            self._database.begin(self._name, error)
            return RETRY_S
        if self._pass is None:
            if (wait_s := self._next - time.monotonic()) > 0:
                return wait_s
            self._next, self._look_s = time.monotonic() + self._every_s, 0.0
            self._pass = self._changes()
        asked_at = time.monotonic()
        try:
            page = next(self._pass, None)
        except RowCacheError as error:
            self._database.begin(self._name, error)
            self._pass, self._next = None, time.monotonic() + max(RETRY_S, self._every_s)
            return RETRY_S
        self._database.end(self._name)
        self._look_s = max(self._look_s, time.monotonic() - asked_at)
        if page is None:
            self._pass, self._next = None, max(self._next, time.monotonic() + self._look_s)
        for name, row_ids in page or ():
            self._touches[name].note(row_ids)
        return 0.0


class NotifyFollower:
    """Changes of tables of one database by notifications."""

    def __init__(self, listener: "Listener", touches: Sequence[Touches], outages: tuple[Outage, Outage]) -> None:
        self._listener = listener
        self._touches = {table.name: table for table in touches}
        self._database, self._redis = outages
        self._retry_s = RETRY_S
        self._next_open = self._next_flush = 0.0

    def turn(self) -> float:
        """Receive notifications, and touch their rows; return the seconds until the next turn."""
        now = time.monotonic()
        try:
            if not self._listener.is_open:
                if now < self._next_open:
                    self._flush()
                    return min(WAIT_S, self._next_open - now)
                self._listener.open()
                self._database.end("")
            for name, row_ids in self._listener.wait(WAIT_S):
                self._retry_s = RETRY_S
                self._touches[name].note(row_ids)
        except RowCacheError as error:
            self._database.begin("", error)
            self._listener.close()
            self._next_open = now + self._retry_s
            self._retry_s = min(MAX_RETRY_S, 2 * self._retry_s)
        self._flush()
        return 0.0

    def _flush(self) -> None:
        """Touch the rows; notifications are received all the same while Redis is away."""
        if time.monotonic() < self._next_flush:
            return
        try:
            for table in self._touches.values():
                table.flush()
        except (redis.RedisError, RowCacheError) as error:
            (self._redis if isinstance(error, redis.RedisError) else self._database).begin("", error)
            self._next_flush = time.monotonic() + RETRY_S
        else:
            self._redis.end("")
