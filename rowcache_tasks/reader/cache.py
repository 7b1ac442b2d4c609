"""RowCache: reads of cached rows from threads."""

import threading
import time
from collections.abc import Sequence
from itertools import chain
from typing import Any, Self, Unpack, overload

import redis

from rowcache_tasks.errors import CacheError
from rowcache_tasks.reader.fill.protocol import DATABASE_ALONE, Call, Fill, Load, Step, Steps, open_loader
from rowcache_tasks.reader.fill.scripts import Found
from rowcache_tasks.reader.operations import OPENINGS, CachedRow, K, Reader, is_missed, is_object, texts_of
from rowcache_tasks.reader.options import AS_CACHED, FILLED, ReadOptions, ReadRequest, SyncOptions, parse_request
from rowcache_tasks.reader.pool import shared_client
from rowcache_tasks.reader.server import CLIENT_ERRORS, PIECE, is_wrong_type, send
from rowcache_tasks.reader.types.decoder import Row
from rowcache_tasks.schedule.arguments import Delay
from rowcache_tasks.schedule.row_id import Key, Many, key_text


class RowCache(Reader[Row]):
    """Reads the cached rows of one table.

    `RowCache("inv")` takes Redis and the keys from the configuration module that the workers use
    (CELERY_CONFIG_MODULE, default celeryconfig). With `url="redis://…"` or `namespace` it needs none: the keys are
    those of the namespace. Thread-safe and fork-safe; make one and keep it, or use it in a `with`. A copy made with
    pickle has the settings and makes connections of its own. No connection is opened before the first
    read; all readers of a process share one pool for each server, except those with a `client` of the application.

    type: of the rows: a TypedDict, a dataclass, a msgspec Struct, a Pydantic model or a class that SQLAlchemy maps;
    default: a dictionary. docs/json.md has the JSON form of each SQL type.
    timeout: seconds after which a read raises CacheError when Redis does not answer; a client has its own.
    near: how many rows to keep in this process (docs/near-cache.md); 0: none.
    read_through: how to read the database (docs/reading.md).

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
        self._client: Any = self._given or shared_client(self._settings.url, self._timeout_s)
        self._fills = Fill(self._settings.table, self._settings.read_through, threading.Event)

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
        if max_age is None and delay is None:
            request = FILLED if fill else AS_CACHED
        else:
            request = parse_request(max_age, delay, fill=fill)
        text = row_id if type(row_id) is str and row_id and row_id.isascii() else key_text(row_id)
        if request.max_age is not None:
            found = self._aged([text], request)[text]
            return self._row(row_id, self._fresh_value(found, request))
        key = (self._prefix + text).encode("utf-8", "surrogateescape")
        if self._near is not None and (kept := self._near.get(key)):
            return self._decode(row_id, kept)
        if self._near is not None or self._breaker.failures:
            return self._row(row_id, self._values([text], request)[0])
        # Most reads: one GET, and as few calls of functions as possible.
        try:
            value = self._client.get(key)
        except CLIENT_ERRORS as error:
            if is_wrong_type(error):  # which MGET treats as not there
                value = self._values([text], request)[0]
            else:
                value = self._fill_without_redis(self._server.failure(error), [text])[text][0]
        else:
            if value is not None and (not fill or value[:1] in OPENINGS):
                return self._decode(row_id, value)
            if fill:
                value = self._fill([text], request)[text][0]
        return None if value is None else self._row(row_id, value)

    @overload
    def get_many(self, row_ids: Many[K], **options: Unpack[ReadOptions]) -> dict[K, Row | None]: ...

    @overload  # of a literal with keys of several types, mypy infers no K
    def get_many(  # type: ignore[overload-cannot-match]
        self, row_ids: Many[Key], **options: Unpack[ReadOptions]
    ) -> dict[Key, Row | None]: ...

    def get_many(
        self, row_ids: Many[Any], *, max_age: Delay | None = None, fill: bool = False, delay: Delay | None = None
    ) -> dict[Any, Row | None]:
        """Return row id -> row or None for each id asked, in the order asked: one round trip.

        One MGET for each 500 ids, and with `fill` one SELECT.

        The options are those of get. A row that the database has and cannot give is logged, and None. RowTypeError has
        the rows that do fit: docs/reading.md.
        """
        request = parse_request(max_age, delay, fill=fill)
        asked = texts_of(row_ids)
        texts = list(asked.values())
        if not texts:
            return {}
        if request.max_age is None:
            return self._rows(asked, self._values(texts, request))
        found = self._aged(texts, request)
        return self._rows(asked, [self._fresh_value(found[text], request) for text in texts])

    def get_with_age(
        self, row_id: Key, *, max_age: Delay | None = None, fill: bool = False, delay: Delay | None = None
    ) -> CachedRow[Row] | None:
        """Return the row with its age, None when it is not cached: one round trip.

        A value older than `max_age` seconds is marked as stale; with `fill` it is read from the database instead.
        """
        request, text = parse_request(max_age, delay, fill=fill), key_text(row_id)
        return self._cached_row(row_id, self._aged([text], request)[text], request)

    def age(self, row_id: Key) -> float | None:
        """Return how many seconds ago a refresh last confirmed the cached value, by the server's clock.

        None when the row is not cached, or another client wrote it. One round trip.
        """
        commands = self._age_commands(key_text(row_id))
        with self._server:
            return self._read_age(send(self._client, commands))

    def exists(self, row_id: Key) -> bool:
        """Return whether the row is cached; one EXISTS."""
        keys = self._keys([key_text(row_id)])
        with self._server:
            return bool(self._client.exists(*keys))

    def close(self) -> None:
        """Close the connections, of the shared pool those that are not in use; the next read opens new ones.

        A client of the application is left open.
        """
        if self._near is not None:
            self._near.close()
        if self._given is None:
            self._client.connection_pool.disconnect(inuse_connections=False)

    def _values(self, row_ids: Sequence[str], request: ReadRequest) -> list[bytes | None]:
        """Read values in the order asked."""
        keys = self._keys(row_ids)
        values = None if self._near is None else self._near.read_many(keys)
        if values is None:
            try:
                with self._server:
                    if len(keys) <= PIECE:
                        values = self._client.mget(keys)
                    else:
                        values = [*chain.from_iterable(send(self._client, self._value_commands(keys)))]
            except CacheError as error:
                filled = self._fill_without_redis(error, row_ids)
                return [filled[row_id][0] for row_id in row_ids]
        missed = [text for text, value in zip(row_ids, values, strict=True) if not is_object(value)]
        if missed and request.is_filled:
            filled = self._fill(missed, request)
            values = [filled[text][0] if text in filled else value for text, value in zip(row_ids, values, strict=True)]
        return values

    def _aged(self, row_ids: Sequence[str], request: ReadRequest) -> dict[str, Found]:
        """Read values with their ages, in one round trip."""
        try:
            with self._server:
                reply = send(self._client, self._aged_commands(row_ids))
        except CacheError as error:
            return self._fill_without_redis(error, row_ids)
        found = self._read_aged(row_ids, reply)
        missed = [row_id for row_id, each in found.items() if is_missed(each, request)]
        return found | self._fill(missed, request) if missed else found

    def _fill_without_redis(self, error: CacheError, row_ids: Sequence[str]) -> dict[str, Found]:
        """Read rows from the database alone, if the options allow it; else raise the error."""
        if not self._settings.read_through.when_redis_is_down:
            raise error
        return self._fill(row_ids, DATABASE_ALONE)

    def _fill(self, row_ids: Sequence[str], request: ReadRequest) -> dict[str, Found]:
        """Read rows from the cache or else from the database, once for all callers."""
        found = self._run(self._fills.rows(row_ids, request))
        if self._near is not None:  # it may not have the invalidations of these writes yet
            self._near.forget(self._keys(found))
        return found

    def _run(self, steps: Steps) -> dict[str, Found]:
        """Do the steps of a fill one after the other."""
        try:
            step = next(steps)
            while True:
                try:
                    reply = self._do(step)
                except BaseException as error:  # noqa: BLE001 - raised in the generator, which may handle it
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            found: dict[str, Found] = end.value
            return found

    def _do(self, step: Step) -> Any:
        if isinstance(step, Call):
            with self._server:
                return [call.run(self._client) for call in step.calls]
        if isinstance(step, Load):
            loader = open_loader(self._settings)
            return loader.load(step.row_ids) if step.row_ids else {}
        if step.event is not None:
            return step.event.wait(step.seconds)
        return time.sleep(step.seconds)
