"""Own RowCache, which threads read with. What is read, and in which steps, is in answer.py and below."""

import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar, overload

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import RowCacheError
from rowcache_tasks.reader.cached_row import CachedRow
from rowcache_tasks.reader.fill.single_flight import Flight
from rowcache_tasks.reader.near.cache import NearCache, NearStatistics
from rowcache_tasks.reader.operations import Answers, RowId, parse_wanted
from rowcache_tasks.reader.options import Target, check_client, find_target
from rowcache_tasks.reader.pool import shared_client
from rowcache_tasks.reader.port import Steps
from rowcache_tasks.reader.read_through import ReadThrough
from rowcache_tasks.schedule.connection import check_timeout

__all__ = ["RowCache"]

T = TypeVar("T")
R = TypeVar("R")
K = TypeVar("K", bound=RowId)


class RowCache(Generic[T]):
    """Reads the cached rows of one table.

    `RowCache("inv")` takes Redis and the keys from the configuration module that the workers use
    (CELERY_CONFIG_MODULE, default celeryconfig). With `url="redis://…"` or `namespace` it needs none: the keys are
    those of the namespace. Thread-safe and fork-safe; make one and keep it. No connection is opened before the first
    read; all readers of a process share one pool for each server, except those with a `client` of the application.

    type: what rows become: a TypedDict, a dataclass, a msgspec Struct or a class that SQLAlchemy maps; default: a
    dictionary. docs/json.md says how SQL types look.
    timeout: seconds after which a read raises CacheError when Redis does not answer; a client has its own.
    near: how many rows to keep in this process (docs/near-cache.md); 0: none.
    read_through: how the database may be read (docs/reading.md).

    Raises ConfigError for wrong settings, ArgumentError for a table that the settings do not have, an option out of
    its range or a row id that is neither a text nor an integer. The reads raise CacheError when Redis cannot be read,
    RowTypeError for a row that does not fit the type and, when they fill, FillError. A value that is no JSON object,
    which only a foreign client can have written, is logged and counts as not cached.
    """

    @overload
    def __init__(
        self: "RowCache[dict[str, Any]]",
        table: str,
        *,
        type: None = None,
        url: str | None = None,
        namespace: str | None = None,
        client: "redis.Redis | None" = None,
        timeout: float = 1.0,
        near: int = 0,
        read_through: ReadThrough | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        table: str,
        *,
        type: type[T],
        url: str | None = None,
        namespace: str | None = None,
        client: "redis.Redis | None" = None,
        timeout: float = 1.0,
        near: int = 0,
        read_through: ReadThrough | None = None,
    ) -> None: ...

    def __init__(
        self,
        table: str,
        *,
        type: type[T] | None = None,  # noqa: A002 - the word that users know
        url: str | None = None,
        namespace: str | None = None,
        client: "redis.Redis | None" = None,
        timeout: float = 1.0,
        near: int = 0,
        read_through: ReadThrough | None = None,
    ) -> None:
        check_client(client, url, redis.Redis, "RowCache")
        target = find_target(table, url, namespace, read_through, has_client=client is not None)
        self._is_shared = client is None
        timeout = check_timeout(timeout)
        client = client or shared_client(target.url, timeout)
        self._table = target.table
        self._near = NearCache(client, max_rows=near, wait_s=timeout / 2) if near else None
        self._port = ThreadPort(client, target, self._near)
        self._answers = Answers.of(target, type, threading.Event, self._near)
        self._decode = self._answers.decode
        self._prefix = target.table.keys.value_prefix

    @property
    def table(self) -> Table:
        """The settings of the table that is read."""
        return self._table

    def get(
        self, row_id: RowId, *, max_age: float | None = None, fill: bool = False, delay: float | None = None
    ) -> T | None:
        """Return the row, or None when it is not cached: one GET.

        max_age: seconds; an older value counts as not cached. fill: a row that is not cached is read from the
        database, by one of all who ask for it, and cached for the `ttl` of ReadThrough; with `delay` it is scheduled
        instead, refreshed every `delay` seconds from now on (only if it had to be filled, and was not scheduled). None
        then means that the database has no such row.
        """
        if self._near is not None and max_age is None and delay is None and isinstance(row_id, str):
            kept = self._near.get((self._prefix + row_id).encode("utf-8", "surrogateescape"))
            if kept:
                return self._decode(row_id, kept)
        return self._run(self._answers.get(row_id, parse_wanted(max_age, delay, fill=fill)))

    def get_many(
        self,
        row_ids: Iterable[K],
        *,
        max_age: float | None = None,
        fill: bool = False,
        delay: float | None = None,
    ) -> dict[K, T | None]:
        """Return row id -> row or None for each id asked, in the order asked: one MGET, and with `fill` one SELECT.

        The options are those of get. A row that the database has and cannot give is logged, and None. RowTypeError has
        the rows that do fit: docs/reading.md.
        """
        return self._run(self._answers.get_many(row_ids, parse_wanted(max_age, delay, fill=fill)))

    def get_with_age(
        self, row_id: RowId, *, max_age: float | None = None, fill: bool = False, delay: float | None = None
    ) -> CachedRow[T] | None:
        """Return the row with its age, None when it is not cached: one round trip.

        A value older than `max_age` seconds is marked as stale; with `fill` it is read from the database instead.
        """
        return self._run(self._answers.get_with_age(row_id, parse_wanted(max_age, delay, fill=fill)))

    def age(self, row_id: RowId) -> float | None:
        """Return how many seconds ago the cached value was last known to be what the database holds.

        None when the row is not cached, or another client wrote it. By the server's clock, in one round trip.
        """
        return self._run(self._answers.age(row_id))

    def exists(self, row_id: RowId) -> bool:
        """Tell whether the row is cached; one EXISTS."""
        return self._run(self._answers.exists(row_id))

    def near_statistics(self) -> NearStatistics | None:
        """Return what the near cache of this process has done; None when there is none."""
        return None if self._near is None else self._near.statistics()

    def close(self) -> None:
        """Close the connections, of the shared pool those that nobody uses; the next read opens new ones.

        A client of the application is left alone.
        """
        if self._near is not None:
            self._near.close()
        if self._is_shared:
            self._port.client.connection_pool.disconnect(inuse_connections=False)

    def _run(self, steps: Steps[R]) -> R:
        """Do the steps of a read one after the other."""
        port = self._port
        try:
            step = next(steps)
            while True:
                try:
                    reply = step(port)
                except BaseException as error:  # noqa: BLE001 - given to the read, which may handle it
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            result: R = end.value
            return result


class ThreadPort:
    """The I/O of RowCache."""

    def __init__(self, client: Any, target: Target, near: NearCache | None) -> None:
        self.client = client
        self._target = target
        self._near = near

    def prepare(self) -> None:
        """Import SQLAlchemy and make the engine, once."""
        with suppress(RowCacheError):
            self._target.open_origin()

    def fetch(self, row_ids: Sequence[str]) -> dict[str, bytes]:
        """Read rows of the database."""
        outcomes: dict[str, bytes] = self._target.open_origin().fetch(row_ids)
        return outcomes

    def keep(self, keys: Sequence[bytes]) -> list[bytes] | None:
        """Read values through the near cache."""
        return self._near.fetch_many(keys) if self._near else None

    def wait(self, flight: Flight[Any] | None, seconds: float) -> None:
        """Wait for a flight, or for a time."""
        if flight is None:
            time.sleep(seconds)
        else:
            flight.event.wait(seconds)
