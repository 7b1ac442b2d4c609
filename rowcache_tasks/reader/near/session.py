"""Rows and pending fetches of one tracked connection."""

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import redis

from rowcache_tasks.keys import slot_of
from rowcache_tasks.schedule.role import role_of

ABSENT: Final = b""  # stands for a key that does not exist: a row is never empty

PUSHED: Final = object()  # stands for a push message, which is not a reply

Rows = OrderedDict[bytes, bytes]  # key -> the bytes of its value, the least recently used first


@dataclass(slots=True)
class Counters:
    """Events since the start, in all sessions of a process. Not exact while several threads count at once."""

    hits: int = 0
    misses: int = 0
    invalidations: int = 0
    sessions: int = 0


@dataclass(slots=True)
class PendingFetch:
    """Keys whose values were asked for, all of one slot; without keys, a HELLO. Without a future, a probe."""

    keys: Sequence[bytes] = ()
    slot: int = 0
    rows: Rows = field(default_factory=OrderedDict)  # of the reply: others than those served, once forgotten
    future: "Future[list[bytes] | None] | None" = None
    sent_at: float = 0.0


class TrackingSession:
    """The rows of one connection. At its end all of them are forgotten, and each pending fetch gets None.

    The connection's thread takes replies and invalidations, in their order; any thread reads and fetches.

    A row is served only while the server has replied to a message that was sent less than max_silence_s ago. All
    that it sent before that reply has arrived, too, since a connection keeps the order. So no row that is served is
    older than that, whatever the network or the scheduler of the machine does.

    `parts`: of a table on several servers, of which this is one; 0: all rows are here, in slot 0. A node of a cluster
    that does not serve a slot any more sends no invalidation of its rows. So each HELLO comes after a probe of each
    slot, a key that no row has, and proves the server only then: a refusal forgets the rows of the slot.
    """

    def __init__(self, max_rows: int, max_silence_s: float, counters: Counters, parts: int = 0) -> None:
        self.proven_at = monotonic()  # when the last message with a reply was sent
        self.role = ""  # of the server, "master" or "replica"; empty until it is known
        self.is_over = False
        self._max_rows = math.ceil(max_rows / max(1, parts))  # rows of a slot
        self._max_silence_s = max_silence_s
        self._counters = counters
        self._slot_of: Callable[[bytes], int] = slot_of if parts else lambda _: 0
        self._is_probed = parts > 0
        self._rows: dict[int, Rows] = {}
        self._lock = threading.Lock()
        self._queued: deque[PendingFetch] = deque()
        self._sent: deque[PendingFetch] = deque()
        self._probes: dict[int, bytes] = {}  # slot with rows here -> its probe

    @property
    def row_count(self) -> int:
        """The number of rows that are kept."""
        return sum(map(len, [*self._rows.values()]))

    @property
    def is_silent(self) -> bool:
        """Whether the server has not replied for longer than max_silence_s."""
        return monotonic() - self.proven_at > self._max_silence_s

    def get(self, key: bytes, slot: int = 0) -> bytes | None:
        """Return the bytes of a row, ABSENT, or None when the server must be asked."""
        rows = self._rows.get(slot)
        value = None if rows is None else rows.get(key)
        # The clock is read last: a process that is frozen before this line serves nothing old when it wakes.
        if rows is None or value is None or monotonic() - self.proven_at > self._max_silence_s:
            return None
        try:  # noqa: SIM105 - suppress() would double the cost of a hit
            rows.move_to_end(key)
        except KeyError:  # invalidated at this moment
            pass
        self._counters.hits += 1
        return value

    def get_many(self, keys: Sequence[bytes], slot: int = 0) -> list[bytes | None]:
        """Return for each key what get() returns, with one look at the clock."""
        rows = self._rows.get(slot, OrderedDict())
        values = list(map(rows.get, keys))
        if monotonic() - self.proven_at > self._max_silence_s:  # last, as in get()
            return [None] * len(keys)
        for key, value in zip(keys, values, strict=True):
            if value is not None:
                self._counters.hits += 1
                try:  # noqa: SIM105
                    rows.move_to_end(key)
                except KeyError:
                    pass
        return values

    def fetch(self, keys: Sequence[bytes], slot: int = 0) -> "Future[list[bytes] | None] | None":
        """Queue a fetch of keys of one slot. None when the session is over; a silent server ends it."""
        if self.is_silent:
            self.end()
        future: Future[list[bytes] | None] = Future()
        with self._lock:
            if self.is_over:
                return None
            rows = self._rows.setdefault(slot, OrderedDict())
            if self._is_probed and slot not in self._probes:
                # A key in the slot that no row has: with the same part in braces, and without a row id.
                self._probes[slot] = keys[0][: keys[0].find(b"}") + 2]
            self._queued.append(PendingFetch(keys, slot, rows, future))
        self._counters.misses += len(keys)
        return future

    def send(self, with_hello: bool) -> list[PendingFetch]:
        """Return the fetches to send now, in this order."""
        with self._lock:
            fetches = [*self._queued]
            self._queued.clear()
            if with_hello:
                fetches += [PendingFetch([key], slot) for slot, key in self._probes.items()]
                fetches.append(PendingFetch())
            now = monotonic()
            for fetch in fetches:
                fetch.sent_at = now
            self._sent.extend(fetches)
        return fetches

    def take(self, reply: Any) -> None:
        """Take the reply to the oldest fetch: values, that to HELLO, or an error.

        Replies and invalidations are taken in the order of the connection, so that an invalidated value can neither
        come in late nor stay. Raises InvalidResponse for a reply that fits no fetch, and ConnectionError when the role
        of the server has changed.
        """
        with self._lock:
            if self.is_over:
                return
            fetch = self._sent[0] if self._sent else None
            if fetch is None or not fits(reply, fetch):
                raise redis.InvalidResponse(f"the server sent {type(reply).__name__} that is no answer")
            self._sent.popleft()
            if not (fetch.keys and self._probes):
                self.proven_at = fetch.sent_at
            if not fetch.keys:
                self._note_role(reply)
                return
            values = None if isinstance(reply, Exception) else [ABSENT if value is None else value for value in reply]
            if values is None and self._is_probed:
                self._drop(fetch.slot)
            elif values is not None and fetch.future is not None:
                self._keep(fetch.rows, fetch.keys, values)
        settle(fetch.future, values)

    def _note_role(self, hello: Any) -> None:
        role = role_of(hello)
        if role and self.role and role != self.role:
            raise redis.ConnectionError(f"the server was a {self.role} and is a {role} now")
        self.role = role or self.role

    def _keep(self, rows: Rows, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        for key, value in zip(keys, values, strict=True):
            rows[key] = value
            rows.move_to_end(key)
            if len(rows) > self._max_rows:
                rows.popitem(last=False)

    def invalidate(self, push: Sequence[Any]) -> object:
        """Take the push message ["invalidate", keys]; None instead of the keys means all rows."""
        keys = push[1]
        if keys is None:
            for rows in [*self._rows.values()]:
                self._counters.invalidations += len(rows)
                rows.clear()
        else:
            self._counters.invalidations += sum(self._remove(key) for key in keys)
        return PUSHED

    def _remove(self, key: bytes) -> bool:
        rows = self._rows.get(self._slot_of(key))
        return rows is not None and rows.pop(key, None) is not None

    def forget(self, keys: Sequence[bytes]) -> None:
        """Forget rows that may have changed. Fetches made before get their values, which are not kept."""
        with self._lock:
            for fetch in (*self._sent, *self._queued):
                fetch.rows = OrderedDict()
            for key in keys:
                self._remove(key)

    def forget_slot(self, slot: int) -> None:
        """Forget the rows of a slot. Fetches made before get their values, which are not kept."""
        with self._lock:
            self._drop(slot)

    def _drop(self, slot: int) -> None:
        self._probes.pop(slot, None)
        self._rows.pop(slot, None)

    def end(self) -> None:
        """Forget all rows and settle all fetches with None; idempotent."""
        with self._lock:
            self.is_over = True
            self._rows = {}
            fetches = [*self._sent, *self._queued]
            self._sent.clear()
            self._queued.clear()
        for fetch in fetches:
            settle(fetch.future, None)


def fits(reply: Any, fetch: PendingFetch) -> bool:
    """Whether a fetch can have this reply. An error fits any: the caller sees it in a read without the near cache."""
    if isinstance(reply, redis.ResponseError):
        return True
    if not fetch.keys:
        return isinstance(reply, dict)
    return isinstance(reply, list) and len(reply) == len(fetch.keys)


def settle(future: "Future[list[bytes] | None] | None", values: list[bytes] | None) -> None:
    """Set the result, unless the waiter has cancelled, or there is none."""
    if future is not None and future.set_running_or_notify_cancel():
        future.set_result(values)
