"""Own the near cache: rows kept in this process, which the server tells when one of them changes.

Must not know JSON, tables or what is done when a row is not cached: keys in, bytes out.

How it works. One connection a process, held by a thread of its own, on which the server tracks what is read (CLIENT
TRACKING). What is not in this process is read on that connection, by all threads and event loops, one MGET after the
other. So answers and invalidations come in one stream, in the order in which the server has worked: a value is kept
when its answer is taken out of the stream and taken away when its invalidation is, and there is no way in which an
answer could overtake the invalidation that makes it old. When that connection is lost, everything that was read on it
goes with it.

What was not taken, and why:

- redis-py's own client-side caching (CacheConfig) refuses Valkey, sees invalidations only when a connection is used
  and does so with a system call at each hit, copies each value deeply, searches all entries for each invalidated key,
  is not there for asyncio, and keeps an entry for as long as nobody uses a dead connection. Its connection, its
  parsers of RESP3 and their handler of invalidations are what is used here.
- CLIENT TRACKING with REDIRECT and a pool of connections that read: the server forgets what a connection has read when
  that connection is closed, by an idle time-out for example, and tells nobody: its rows would be served for ever. An
  answer and the invalidation that makes it old are on two connections then, and can overtake each other.
- CLIENT TRACKING BCAST: every process gets every change of the table, read or not, and a process that is frozen makes
  the server pile them up. Here it gets one message for a row that it has read, until it reads it again.
"""

import asyncio
import os
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.reader.near.connection import AnyClient, listener_of
from rowcache_tasks.reader.near.session import ABSENT, Counts, Session
from rowcache_tasks.reader.near.tracking import Tracking

__all__ = ["ABSENT", "MAX_SILENCE_S", "NearCache", "NearStatistics"]

MAX_SILENCE_S = 1.0
"""No hit is older than this, whatever happens; if nothing happens, it is older by the way of one message."""


@dataclass(frozen=True, slots=True)
class NearStatistics:
    """What the near cache of this process has done since it was made."""

    rows: int
    """Rows that are kept now."""
    hits: int
    misses: int
    invalidations: int
    """Rows taken away because the server said that they have changed."""
    sessions: int
    """Tracked connections so far: 1 when none was lost."""


class NearCache:
    """Keeps up to max_rows values that were read last, of the server that a client reads.

    Of the client (sync or asyncio) only its address and login are used. No thread is started and no connection opened
    before the first fetch. While there is no tracked connection, nothing is kept and every fetch gives None: read with
    the client then. The reason is logged once, as a warning; no read fails because of the near cache. Thread-safe; a
    forked child starts with nothing and opens a connection of its own.

    max_silence_s: a value is served only if the server was there so many seconds ago; it is asked four times within.
    wait_s: how long a fetch waits; None: for max_silence_s.
    Raises ArgumentError for numbers that cannot be meant, or a client whose server is not one address.
    """

    def __init__(
        self,
        client: AnyClient,
        *,
        max_rows: int = 10_000,
        max_silence_s: float = MAX_SILENCE_S,
        wait_s: float | None = None,
    ) -> None:
        if isinstance(max_rows, bool) or not isinstance(max_rows, int) or max_rows < 1:
            raise ArgumentError(f"near is {max_rows!r:.100}: allowed is a number of rows, from 1, or 0 for none")
        if isinstance(max_silence_s, bool) or not 0.05 <= max_silence_s <= 60:
            raise ArgumentError(f"max_silence_s is {max_silence_s!r:.100}: allowed is a number of seconds, 0.05 to 60")
        self._make_connection = listener_of(client, max_silence_s)
        self._max_rows = max_rows
        self._max_silence_s = max_silence_s
        self._wait_s = max_silence_s if wait_s is None else wait_s
        self._renew()
        caches.add(self)

    def get(self, key: bytes) -> bytes | None:
        """Give the bytes of a row that is kept here, ABSENT if it is known not to be there, or None. No I/O."""
        session = self._tracking.session
        return None if session is None else session.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As get(), for many."""
        session = self._tracking.session
        return [None] * len(keys) if session is None else session.get_many(keys)

    def fetch(self, key: bytes) -> bytes | None:
        """Ask the server for a row and keep it; ABSENT if it is not there. None: ask with the client.

        Waits for wait_s at most.
        """
        values = self.fetch_many((key,))
        return None if values is None else values[0]

    def fetch_many(self, keys: Sequence[bytes]) -> list[bytes] | None:
        """Ask for rows, at least one, in one round trip; values in the order asked. As fetch()."""
        session, future = self._ask(keys)
        if session is None or future is None:
            return None
        try:
            return future.result(self._wait_s)
        except TimeoutError:
            session.clear()  # what the client is told now may be newer than what is kept, or answered too late
            return None

    async def fetch_async(self, key: bytes) -> bytes | None:
        """As fetch(), awaited."""
        values = await self.fetch_many_async((key,))
        return None if values is None else values[0]

    async def fetch_many_async(self, keys: Sequence[bytes]) -> list[bytes] | None:
        """As fetch_many(), awaited."""
        session, future = self._ask(keys)
        if session is None or future is None:
            return None
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._wait_s)
        except TimeoutError:
            session.clear()
            return None

    def _ask(self, keys: Sequence[bytes]) -> "tuple[Session | None, Future[list[bytes] | None] | None]":
        tracking = self._tracking
        tracking.start()
        session = tracking.session
        future = None if session is None else session.ask(keys)
        tracking.wake()
        return session, future

    def statistics(self) -> NearStatistics:
        """Give the counts of this process."""
        session, counts = self._tracking.session, self._counts
        rows = 0 if session is None else session.row_count
        return NearStatistics(rows, counts.hits, counts.misses, counts.invalidations, counts.sessions)

    def forget(self, keys: Sequence[bytes]) -> None:
        """Forget rows that this process knows to have changed: it then reads what was written, or something newer.

        Without it, a process that writes may read the old value until the server's message has arrived.
        """
        if (session := self._tracking.session) is not None:
            session.forget(keys)

    def clear(self) -> None:
        """Forget all rows of this process; the server is not asked."""
        if (session := self._tracking.session) is not None:
            session.clear()

    def close(self) -> None:
        """Forget all rows, close the connection and end the thread; the next fetch starts anew."""
        tracking, counts = self._tracking, self._counts
        self._stop()
        self._renew(counts)
        tracking.join(timeout_s=1.0)

    def _renew(self, counts: Counts | None = None) -> None:
        self._counts = counts or Counts()
        self._tracking = Tracking(self._make_connection, self._max_rows, self._max_silence_s, self._counts)
        # For a near cache that nobody closes, or the end of the process.
        self._stop = weakref.finalize(self, self._tracking.stop)

    def _after_fork(self) -> None:
        self._stop.detach()
        self._tracking.abandon()
        self._renew()


caches: "weakref.WeakSet[NearCache]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for cache in list(caches):
        cache._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
