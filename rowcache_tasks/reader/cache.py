"""RowCache: reads of cached rows from threads."""

import threading
from typing import Any, Self, Unpack, overload

import redis

from rowcache_tasks.reader.fill.protocol import Fills
from rowcache_tasks.reader.operations import CachedRow, K, Operations
from rowcache_tasks.reader.options import AS_CACHED, FILLED, ReadOptions, SyncOptions, parse_request
from rowcache_tasks.reader.pool import shared_client
from rowcache_tasks.reader.server import CLIENT_ERRORS
from rowcache_tasks.reader.transport import Transport
from rowcache_tasks.reader.types.decoder import DECODE_ERRORS, Row
from rowcache_tasks.reader.values import OPENINGS
from rowcache_tasks.schedule.arguments import Delay
from rowcache_tasks.schedule.awaiting import run_blocking
from rowcache_tasks.schedule.row_id import Key, Many, encode_row_id, key_text
from rowcache_tasks.schedule.servers import Servers


class RowCache(Operations[Row]):
    """Reads the cached rows of one table.

    `RowCache("inv")` takes Redis and the keys from the configuration module that the workers use
    (CELERY_CONFIG_MODULE, default celeryconfig). With `url="redis://…"` or `namespace` it needs none: the keys are
    those of the namespace. Thread-safe and fork-safe; make one and keep it, or use it in a `with`. A copy made with
    pickle has the settings and makes connections of its own. No connection is opened before the first
    read; all readers of a process share one pool for each server, except those with a `client` of the application.

    - `type`: of the rows: a TypedDict, a dataclass, a msgspec Struct, a Pydantic model or a class that SQLAlchemy maps;
      default: a dictionary. docs/json.md has the JSON form of each SQL type.
    - `client`: a `redis.Redis` of the application, instead of a URL.
    - `timeout`: seconds after which a read raises CacheError when Redis does not answer; a client has its own.
    - `near`: how many rows to keep in this process (docs/near-cache.md); 0: none.
    - `read_through`: how to read the database (docs/reading.md).
    - `app`: the Celery application whose settings to take.

    Raises ConfigError for wrong settings, ArgumentError for a table that the settings do not have, an option out of
    its range or a wrong key. The reads raise CacheError when Redis cannot
    be read, RowTypeError for a row that does not fit the type and, when they fill, FillError. A value that is not a
    JSON object, which only another client can have written, is logged and counts as not cached.
    """

    _client_type = redis.Redis

    @overload
    def __init__(
        self: "RowCache[dict[str, Any]]", table: str, *, type: None = None, **options: Unpack[SyncOptions]
    ) -> None: ...

    @overload
    def __init__(self, table: str, *, type: type[Row], **options: Unpack[SyncOptions]) -> None: ...

    def __init__(self, table: str, *, type: type[Row] | None = None, **options: Unpack[SyncOptions]) -> None:  # noqa: A002
        super().__init__(table, type, **options)

    def _open(self, *parts: Any) -> None:
        super()._open(*parts)
        client = self._given or shared_client(self._settings.url, self._settings.timeout_s)
        fills = Fills(self._settings, threading.Event)
        self._io = Transport(client, self._server, fills)
        self._get = self._io.get

    def _here(self) -> Transport:
        return self._io

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(
        self, row_id: Key, *, max_age: Delay | None = None, fill: bool = False, delay: Delay | None = None
    ) -> Row | None:
        """Return the row, or None when it is not cached: one GET.

        max_age: seconds; an older value counts as not cached. fill: a row that is not cached is read from the
        database, once for all callers, and cached for the `ttl` of ReadThrough; with `delay` it is scheduled
        instead, refreshed every `delay` seconds from now on (only if it had to be filled, and was not scheduled). None
        then means that the database has no such row.
        """
        text = row_id if type(row_id) is str and row_id and row_id.isascii() else key_text(row_id)
        if max_age is None and delay is None and self._near is None and not self._breaker.failures:
            # Most reads: one GET, and as few calls of functions as possible.
            key = (self._prefix or self._prefix_of(text)) + text
            try:
                value = self._get(key if key.isascii() else encode_row_id(key))
            except CLIENT_ERRORS as error:
                return run_blocking(self._one_after(row_id, text, FILLED if fill else AS_CACHED, error))
            if value is None or (fill and value[:1] not in OPENINGS):
                return run_blocking(self._one_missed(row_id, text, fill=fill)) if fill or self._grows else None
            try:
                return self._decode(value)
            except DECODE_ERRORS as error:
                row = self._decoder.decode_refused(row_id, value, error)
            return run_blocking(self._one(row_id, text, FILLED)) if fill and row is None else row
        if self._near is not None and max_age is None and delay is None:
            kept = self._near.get(((self._prefix or self._prefix_of(text)) + text).encode("utf-8", "surrogateescape"))
            if kept and ((row := self._decoder.decode(row_id, kept)) is not None or not fill):
                return row
        return run_blocking(self._one(row_id, text, parse_request(max_age, delay, fill=fill)))

    @overload
    def get_many(self, row_ids: Many[K], **options: Unpack[ReadOptions]) -> dict[K, Row | None]: ...

    @overload  # of a literal with keys of several types, mypy infers no K
    def get_many(  # type: ignore[overload-cannot-match]
        self, row_ids: Many[Key], **options: Unpack[ReadOptions]
    ) -> dict[Key, Row | None]: ...

    def get_many(
        self, row_ids: Many[Any], *, max_age: Delay | None = None, fill: bool = False, delay: Delay | None = None
    ) -> dict[Any, Row | None]:
        """Return row id -> row or None for each id asked, in the order asked.

        Up to 100 ids are one MGET. Of more, each further round trip reads about 1 MB of values, so that Redis can
        serve others in between. With `fill`, one SELECT for each 1,000 ids that are not cached.

        The options are those of get. A row that the database has and cannot give is logged, and None. RowTypeError has
        the rows that do fit: docs/reading.md.
        """
        return run_blocking(self._many(row_ids, parse_request(max_age, delay, fill=fill)))

    def get_with_age(
        self, row_id: Key, *, max_age: Delay | None = None, fill: bool = False, delay: Delay | None = None
    ) -> CachedRow[Row] | None:
        """Return the row with its age, None when it is not cached: one round trip.

        A value older than `max_age` seconds is marked as stale; with `fill` it is read from the database instead.
        """
        return run_blocking(self._one_with_age(row_id, parse_request(max_age, delay, fill=fill)))

    def age(self, row_id: Key) -> float | None:
        """Return how many seconds ago a refresh last confirmed the cached value, by the server's clock.

        None when the row is not cached, or another client wrote it. One round trip.
        """
        return run_blocking(self._age(row_id))

    def exists(self, row_id: Key) -> bool:
        """Return whether the row is cached; one EXISTS."""
        return run_blocking(self._exists(row_id))

    def close(self) -> None:
        """Close the connections, of the shared pool those that are not in use; the next read opens new ones.

        A client of the application is left open.
        """
        if self._near is not None:
            self._near.close()
        if self._given is None:
            if isinstance(self._io.client, Servers):
                self._io.client.disconnect()
            else:
                self._io.client.connection_pool.disconnect(inuse_connections=False)
