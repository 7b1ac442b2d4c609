"""Near cache: keys in, bytes out.

One connection a server, held by a thread of its own, on which the server tracks all reads. Values that are not kept
are read on that connection, by all threads and event loops, one MGET after the other. So replies and invalidations
come in one stream, in the order in which the server has worked, and no reply can overtake the invalidation that makes
it old. All that was read on a connection is forgotten when it is lost. docs/near-cache.md has the alternatives.
"""

import os
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any

import redis.asyncio
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.reader.near.connection import TrackingThread
from rowcache_tasks.reader.near.fetching import Fetching, Started
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


MAX_SILENCE_S = 1.0  # no hit is older than this; while the connection is well, it is older by the way of one message


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
    """Tracked connections so far: 1 for each server when none was lost."""


def check_rows(max_rows: object) -> None:
    """Accept a number of rows. Raises ArgumentError."""
    if isinstance(max_rows, bool) or not isinstance(max_rows, int) or max_rows < 1:
        raise ArgumentError(f"near is {max_rows!r:.100}: allowed is a number of rows, from 1, or 0 for none")


class NearCache(Fetching):
    """Keeps the max_rows most recently read values of the server of a client.

    Of the client (sync or asyncio) only its address and login are used. No thread is started and no connection opened
    before the first fetch. While there is no tracked connection, nothing is kept and every fetch returns None: the
    caller then reads with the client. The reason is logged once, as a warning; no read fails because of the near
    cache. Thread-safe; a forked child starts with nothing and opens a connection of its own.

    max_silence_s: a value is served only if the server has replied within so many seconds; four HELLOs within.
    wait_s: how long a fetch waits; None: for max_silence_s. parts: as in TrackingSession.
    Raises ArgumentError for numbers out of their range, or a client whose server is not one address.
    """

    def __init__(
        self,
        client: AnyClient,
        *,
        max_rows: int = 10_000,
        max_silence_s: float = MAX_SILENCE_S,
        wait_s: float | None = None,
        parts: int = 0,
        counters: Counters | None = None,
    ) -> None:
        check_rows(max_rows)
        if isinstance(max_silence_s, bool) or not 0.05 <= max_silence_s <= 60:
            raise ArgumentError(f"max_silence_s is {max_silence_s!r:.100}: allowed is a number of seconds, 0.05 to 60")
        self._make_connection = connection_maker(client, max_silence_s)
        self.max_rows = max_rows
        self._max_silence_s = max_silence_s
        self.wait_s = max_silence_s if wait_s is None else wait_s
        self._parts = parts
        self._renew(counters)
        caches.add(self)

    def get(self, key: bytes, slot: int = 0) -> bytes | None:
        """Return the bytes of a row that is kept here, ABSENT for a key known not to exist, or None. No I/O."""
        session = self._thread.session
        return None if session is None else session.get(key, slot)

    def get_many(self, keys: Sequence[bytes], slot: int = 0) -> list[bytes | None]:
        """Return for each key what get() returns."""
        session = self._thread.session
        return [None] * len(keys) if session is None else session.get_many(keys, slot)

    def start(self, keys: Sequence[bytes], slot: int = 0) -> "Future[list[bytes] | None] | None":
        """Queue a fetch of keys of one slot; None without a session."""
        thread = self._thread
        thread.start()
        future = None if (session := thread.session) is None else session.fetch(keys, slot)
        thread.wake()
        return future

    def _start(self, keys: Sequence[bytes]) -> Sequence[Started]:
        future = self.start(keys)
        return [] if future is None else [(range(len(keys)), future)]

    def statistics(self) -> NearStatistics:
        """Return the counts of this process."""
        session = self._thread.session
        return NearStatistics(rows=0 if session is None else session.row_count, **asdict(self._counters))

    def forget(self, keys: Sequence[bytes]) -> None:
        """Forget rows, as in Fetching."""
        if (session := self._thread.session) is not None:
            session.forget(keys)

    def forget_slot(self, slot: int) -> None:
        """Forget the rows of a slot."""
        if (session := self._thread.session) is not None:
            session.forget_slot(slot)

    def close(self) -> None:
        """Forget all rows, close the connection and end the thread; the next fetch starts anew."""
        thread, counters = self._thread, self._counters
        self._stop()
        self._renew(counters)
        thread.join(timeout_s=1.0)

    def _renew(self, counters: Counters | None = None) -> None:
        self._counters = counters or Counters()
        self._thread = TrackingThread(
            self._make_connection, self.max_rows, self._max_silence_s, self._counters, self._parts
        )
        # For a near cache that is never closed, and the end of the process.
        self._stop = weakref.finalize(self, self._thread.stop)

    def _after_fork(self) -> None:
        self._stop.detach()
        self._thread.abandon()
        self._renew()


caches: "weakref.WeakSet[Any]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for cache in list(caches):
        cache._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
