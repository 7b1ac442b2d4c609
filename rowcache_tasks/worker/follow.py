"""Refresh of rows that have changed in the database."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import redis

from rowcache_tasks.errors import RowCacheError
from rowcache_tasks.errors.text import one_line, show_duration
from rowcache_tasks.schedule.cut import SCRIPT_BATCH
from rowcache_tasks.worker.backlog import Backlog, count_rows
from rowcache_tasks.worker.touches import Touches

if TYPE_CHECKING:
    from rowcache_tasks.database.notification import Changes, Listener

logger = logging.getLogger(__name__)

RETRY_S = 1.0  # pause after an error of the source or of Redis
MAX_RETRY_S = 10.0  # longest pause before a connection that listens is opened again
LOOK_S = 0.1  # longest rest without a look at other rows
WAIT_S = 1.0  # longest wait for a notification
COUNT_S = 1.0
RECEIVE_S = 0.1  # after so long, what was received is looked at, though more was sent


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

    `changes` begins a pass, which yields pages. The next page is read when the rows of the last one were made due. A
    pass of many rows that others can overtake calls the function that it is given: whether more of them are wanted yet.
    """

    def __init__(
        self,
        changes: Callable[[Callable[[], bool]], Iterator[Iterable[tuple[str, "Changes"]]]],
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
        self._next = self._rest_until = 0.0
        self._look_s = 0.0  # the longest wait for a page of the pass: the next pass begins no sooner after it

    def turn(self) -> float:
        """Touch the rows of the last page and read another one; return the seconds until the next turn."""
        try:
            rest_s = max(table.flush() for table in self._touches.values())
            self._redis.end(self._name)
        except redis.RedisError as error:
            self._redis.begin(self._name, error)
            return RETRY_S
        except RowCacheError as error:
            self._database.begin(self._name, error)
            return RETRY_S
        self._rest_until = max(self._rest_until, time.monotonic() + rest_s)
        if self._pass is None:
            if (wait_s := self._next - time.monotonic()) > 0:
                return wait_s
            self._next, self._look_s = time.monotonic() + self._every_s, 0.0
            self._pass = self._changes(lambda: time.monotonic() >= self._rest_until)
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
        rest_s = max(0.0, min(LOOK_S, self._rest_until - time.monotonic()))
        for name, row_ids in page or ():
            self._touches[name].note(row_ids)
            rest_s = 0.0 if row_ids else rest_s
        return rest_s


class NotifyFollower:
    """Changes of tables of one database by notifications.

    More than SCRIPT_BATCH rows of one connection within COUNT_S are a burst. They wait in a backlog until all that was
    sent is received, so that a change which was committed after the burst need not wait for it.
    """

    def __init__(self, listener: "Listener", touches: Sequence[Touches], outages: tuple[Outage, Outage]) -> None:
        self._listener = listener
        self._touches = {table.name: table for table in touches}
        self._database, self._redis = outages
        self._backlog = Backlog()
        self._counts: Counter[tuple[str, int]] = Counter()  # (table, process of the server) -> rows since a moment
        self._count_until = 0.0
        self._retry_s = RETRY_S
        self._next_open = self._next_flush = self._next_step = 0.0

    def turn(self) -> float:
        """Receive notifications, and touch their rows; return the seconds until the next turn."""
        now, is_all, rest_s = time.monotonic(), True, 0.0
        try:
            if not self._listener.is_open and now >= self._next_open:
                self._listener.open()
                self._database.end("")
            if not self._listener.is_open or (self._backlog.is_full and now >= self._next_flush):
                rest_s = self._rest_s()
            else:
                is_all = self._receive()
        except RowCacheError as error:
            self._database.begin("", error)
            self._listener.close()
            self._next_open = now + self._retry_s
            self._retry_s = min(MAX_RETRY_S, 2 * self._retry_s)
        self._flush(is_all=is_all)
        return rest_s

    def _rest_s(self) -> float:
        """Return the seconds until rows of a burst may be touched; a while if there are none."""
        if not self._backlog:
            return WAIT_S
        return min(WAIT_S, max(0.0, max(self._next_step, self._next_flush) - time.monotonic()))

    def _receive(self) -> bool:
        """Note what was sent, for RECEIVE_S at most; return whether that was all. Raises SourceError."""
        wait_s = self._rest_s()
        until = time.monotonic() + wait_s + RECEIVE_S
        found: dict[tuple[str, int], list[str]] = {}
        try:
            while received := self._listener.wait(wait_s):
                for table, process, payload in received:
                    found.setdefault((table, process), []).append(payload)
                if time.monotonic() > until:
                    break
                wait_s = 0.0
        finally:
            for sender, payloads in found.items():
                self._note(sender, payloads)
        return not received

    def _note(self, sender: tuple[str, int], payloads: list[str]) -> None:
        """Note what a connection has sent."""
        self._retry_s = RETRY_S
        (table, _), rows = sender, sum(map(count_rows, payloads))
        if not self._is_burst(sender, rows):
            for payload in payloads:
                self._touches[table].note(self._listener.row_ids(table, payload))
        elif self._backlog.is_full and time.monotonic() < self._next_flush:
            self._touches[table].leave(rows)
        else:
            self._backlog.add(table, payloads)

    def _is_burst(self, sender: tuple[str, int], rows: int) -> bool:
        """Count rows of a connection. What was a burst remains one until it has been over for COUNT_S."""
        if (now := time.monotonic()) > self._count_until:
            many = [each for each, count in self._counts.items() if count > SCRIPT_BATCH]
            self._counts, self._count_until = Counter(dict.fromkeys(many, SCRIPT_BATCH)), now + COUNT_S
        self._counts[sender] += rows
        return self._counts[sender] > SCRIPT_BATCH

    def _flush(self, *, is_all: bool) -> None:
        """Touch the rows, and then some of a burst; notifications are received all the same while Redis is away."""
        if time.monotonic() < self._next_flush:
            return
        try:
            for table in self._touches.values():
                table.flush()
            if self._backlog and (is_all or self._backlog.is_full) and time.monotonic() >= self._next_step:
                self._touch_newest()
        except (redis.RedisError, RowCacheError) as error:
            (self._redis if isinstance(error, redis.RedisError) else self._database).begin("", error)
            self._next_flush = time.monotonic() + RETRY_S
        else:
            self._redis.end("")

    def _touch_newest(self) -> None:
        """Touch the rows of a burst that were received last."""
        table, payloads = self._backlog.newest()
        changes = [self._listener.row_ids(table, payload) for payload in payloads]
        self._backlog.remove_newest()
        for row_ids in changes:
            self._touches[table].note(row_ids)
        self._next_step = self._touches[table].flush(is_burst=True) + time.monotonic()
