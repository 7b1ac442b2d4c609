"""Near cache: keys in, bytes out.

One connection a process, held by a thread of its own, on which the server tracks all reads. Values that are not kept
are read on that connection, by all threads and event loops, one MGET after the other. So replies and invalidations
come in one stream, in the order in which the server has worked, and no reply can overtake the invalidation that makes
it old. All that was read on a connection is forgotten when it is lost. docs/near-cache.md has the alternatives.
"""

import asyncio
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import redis.asyncio
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.reader.near.connection import TrackingThread
from rowcache_tasks.reader.near.session import Counters
from rowcache_tasks.schedule.role import role_connection

AnyClient = redis.Redis | redis.asyncio.Redis

CLASSES: dict[str, Any] = {kind.__name__: kind for kind in (Connection, SSLConnection, UnixDomainSocketConnection)}
"""Name of a class of redis-py, sync or asyncio -> the sync class."""
SENTINEL_CLASSES: dict[str, Any] = {
    kind.__name__: role_connection(kind, needs_primary=False, is_rechecked=False)
    for kind in (SentinelManagedConnection, SentinelManagedSSLConnection)
}
"""The same for clients of threads that ask Sentinels: those of asyncio cannot be asked by a thread."""

KEPT = frozenset(
    {
        *("host", "port", "path", "connection_pool", "db", "username", "password", "credential_provider"),
        *("socket_connect_timeout", "socket_keepalive", "socket_keepalive_options", "socket_type"),
    }
)
"""The options of a client that name its server; its retries, protocol and decoding are not taken over."""


def connection_maker(client: AnyClient, timeout_s: float) -> Callable[[], Any]:
    """Return a function that makes connections to the client's server, each for one thread, not connected yet.

    Raises ArgumentError for a client whose server is not one address.
    """
    pool = client.connection_pool
    kind = pool.connection_class
    classes = CLASSES | SENTINEL_CLASSES if isinstance(client, redis.Redis) else CLASSES
    if (connection_class := classes.get(kind.__name__)) is None:
        raise ArgumentError(
            f"the near cache was given a client with {kind.__name__}: it needs one with the address "
            "of one server (redis://, rediss:// or unix://) or of Sentinels; leave near out, or give url="
        )
    options: dict[str, Any] = {
        name: value for name, value in pool.connection_kwargs.items() if name in KEPT or name.startswith("ssl_")
    }
    options |= {
        "client_name": f"{pool.connection_kwargs.get('client_name') or 'rowcache-reader'}-near",
        "protocol": 3,  # in RESP2 the server cannot push
        "socket_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),  # a new connection does not track the old one's keys
    }
    return lambda: connection_class(**options)


MAX_SILENCE_S = 1.0
"""No hit is older than this; while the connection is well, it is older by the way of one message."""


@dataclass(frozen=True, slots=True)
class NearStatistics:
    """Counts of the near cache of this process since it was made."""

    rows: int
    """Rows that are kept now."""
    hits: int
    misses: int
    invalidations: int
    """Rows that the server has invalidated."""
    sessions: int
    """Tracked connections so far: 1 when none was lost."""


class NearCache:
    """Keeps the max_rows most recently read values of the server of a client.

    Of the client (sync or asyncio) only its address and login are used. No thread is started and no connection opened
    before the first fetch. While there is no tracked connection, nothing is kept and every fetch returns None: the
    caller then reads with the client. The reason is logged once, as a warning; no read fails because of the near
    cache. Thread-safe; a forked child starts with nothing and opens a connection of its own.

    max_silence_s: a value is served only if the server has replied within so many seconds; four HELLOs within.
    wait_s: how long a fetch waits; None: for max_silence_s.
    Raises ArgumentError for numbers out of their range, or a client whose server is not one address.
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
        self._make_connection = connection_maker(client, max_silence_s)
        self.max_rows = max_rows
        self._max_silence_s = max_silence_s
        self._wait_s = max_silence_s if wait_s is None else wait_s
        self._renew()
        caches.add(self)

    def get(self, key: bytes) -> bytes | None:
        """Return the bytes of a row that is kept here, ABSENT for a key known not to exist, or None. No I/O."""
        session = self._thread.session
        return None if session is None else session.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return for each key what get() returns."""
        session = self._thread.session
        return [None] * len(keys) if session is None else session.get_many(keys)

    def fetch_many(self, keys: Sequence[bytes]) -> list[bytes] | None:
        """Read rows, at least one, from the server, and keep them; ABSENT for no row. None: read with the client.

        One round trip; values in the order asked. Waits for wait_s at most.
        """
        with self._start_fetch(keys) as future:
            return None if future is None else future.result(self._wait_s)
        return None

    async def fetch_many_async(self, keys: Sequence[bytes]) -> list[bytes] | None:
        """Read rows as `fetch_many` does, awaited."""
        with self._start_fetch(keys) as future:
            return None if future is None else await asyncio.wait_for(asyncio.wrap_future(future), self._wait_s)
        return None

    def statistics(self) -> NearStatistics:
        """Return the counts of this process."""
        session = self._thread.session
        return NearStatistics(rows=0 if session is None else session.row_count, **asdict(self._counters))

    def forget(self, keys: Sequence[bytes]) -> None:
        """Forget rows that this process has written, so that its next read is not older than that.

        Without it, the process may read the old value until the server's message has arrived.
        """
        if (session := self._thread.session) is not None:
            session.forget(keys)

    def close(self) -> None:
        """Forget all rows, close the connection and end the thread; the next fetch starts anew."""
        thread, counters = self._thread, self._counters
        self._stop()
        self._renew(counters)
        thread.join(timeout_s=1.0)

    @contextmanager
    def _start_fetch(self, keys: Sequence[bytes]) -> "Iterator[Future[list[bytes] | None] | None]":
        """Queue a fetch, None without a session; forget all rows after a time-out, and go on behind the block."""
        thread = self._thread
        thread.start()
        session = thread.session
        future = None if session is None else session.fetch(keys)
        thread.wake()
        try:
            yield future
        except TimeoutError:
            if session is not None:
                session.clear()  # the client's reply may be newer than the rows kept, and this one may come later

    def _renew(self, counters: Counters | None = None) -> None:
        self._counters = counters or Counters()
        self._thread = TrackingThread(self._make_connection, self.max_rows, self._max_silence_s, self._counters)
        # For a near cache that is never closed, and the end of the process.
        self._stop = weakref.finalize(self, self._thread.stop)

    def _after_fork(self) -> None:
        self._stop.detach()
        self._thread.abandon()
        self._renew()


caches: "weakref.WeakSet[NearCache]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for cache in list(caches):
        cache._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
