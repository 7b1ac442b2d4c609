"""AsyncRowCache: reads of cached rows from asyncio."""

import asyncio
import weakref
from typing import Any, Self, Unpack, overload

import redis.asyncio

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.reader.fill.protocol import Fills
from rowcache_tasks.reader.operations import CachedRow, K, Operations
from rowcache_tasks.reader.options import AS_CACHED, FILLED, AsyncOptions, ReadOptions, parse_request
from rowcache_tasks.reader.pool import forget_closed, shared_async_client
from rowcache_tasks.reader.server import CLIENT_ERRORS
from rowcache_tasks.reader.servers import AsyncServers
from rowcache_tasks.reader.transport import AwaitedTransport
from rowcache_tasks.reader.types.decoder import DECODE_ERRORS, Row
from rowcache_tasks.reader.values import OPENINGS
from rowcache_tasks.schedule.arguments import Delay
from rowcache_tasks.schedule.row_id import Key, Many, encode_row_id, key_text


class AsyncRowCache(Operations[Row]):
    """Reads the cached rows of one table, as RowCache does, with the same options, methods and errors; awaited.

    All readers of an event loop share one pool of connections for each server; a read waits for its turn for up to
    `timeout` seconds. The database is read in threads, as many as the `concurrency` of ReadThrough. A fill goes on when
    the task that asked for it is cancelled: others wait for it.
    """

    _client_type = redis.asyncio.Redis

    @overload
    def __init__(
        self: "AsyncRowCache[dict[str, Any]]", table: str, *, type: None = None, **options: Unpack[AsyncOptions]
    ) -> None: ...

    @overload
    def __init__(self, table: str, *, type: type[Row], **options: Unpack[AsyncOptions]) -> None: ...

    def __init__(self, table: str, *, type: type[Row] | None = None, **options: Unpack[AsyncOptions]) -> None:  # noqa: A002
        super().__init__(table, type, **options)

    def _open(self, *parts: Any) -> None:
        super()._open(*parts)
        self._loops: weakref.WeakKeyDictionary[Any, AwaitedTransport] = weakref.WeakKeyDictionary()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(
        self, row_id: Key, *, max_age: Delay | None = None, fill: bool = False, delay: Delay | None = None
    ) -> Row | None:
        """Return the row; see RowCache.get."""
        text = row_id if type(row_id) is str and row_id and row_id.isascii() else key_text(row_id)
        if max_age is None and delay is None and self._near is None and not self._breaker.failures:
            # Most reads: one GET, and as few calls of functions as possible.
            key = (self._prefix or self._prefix_of(text)) + text
            try:
                value = await self._here().get(key if key.isascii() else encode_row_id(key))
            except CLIENT_ERRORS as error:
                return await self._one_after(row_id, text, FILLED if fill else AS_CACHED, error)
            if value is None or (fill and value[:1] not in OPENINGS):
                return await self._one_missed(row_id, text, fill=fill) if fill or self._grows else None
            try:
                return self._decode(value)
            except DECODE_ERRORS as error:
                row = self._decoder.decode_refused(row_id, value, error)
            return await self._one(row_id, text, FILLED) if fill and row is None else row
        if self._near is not None and max_age is None and delay is None:
            kept = self._near.get(((self._prefix or self._prefix_of(text)) + text).encode("utf-8", "surrogateescape"))
            if kept and ((row := self._decoder.decode(row_id, kept)) is not None or not fill):
                return row
        return await self._one(row_id, text, parse_request(max_age, delay, fill=fill))

    @overload
    async def get_many(self, row_ids: Many[K], **options: Unpack[ReadOptions]) -> dict[K, Row | None]: ...

    @overload  # of a literal with keys of several types, mypy infers no K
    async def get_many(  # type: ignore[overload-cannot-match]
        self, row_ids: Many[Key], **options: Unpack[ReadOptions]
    ) -> dict[Key, Row | None]: ...

    async def get_many(
        self, row_ids: Many[Any], *, max_age: Delay | None = None, fill: bool = False, delay: Delay | None = None
    ) -> dict[Any, Row | None]:
        """Return row id -> row or None; see RowCache.get_many."""
        return await self._many(row_ids, parse_request(max_age, delay, fill=fill))

    async def get_with_age(
        self, row_id: Key, *, max_age: Delay | None = None, fill: bool = False, delay: Delay | None = None
    ) -> CachedRow[Row] | None:
        """Return the row with its age; see RowCache.get_with_age."""
        return await self._one_with_age(row_id, parse_request(max_age, delay, fill=fill))

    async def age(self, row_id: Key) -> float | None:
        """Return the age of the cached value in seconds; see RowCache.age."""
        return await self._age(row_id)

    async def exists(self, row_id: Key) -> bool:
        """Return whether the row is cached; one EXISTS."""
        return await self._exists(row_id)

    async def close(self) -> None:
        """Close the connections of this event loop; the next read opens new ones. See RowCache.close."""
        here = self._here()
        if self._near is not None:
            await asyncio.to_thread(self._near.close)  # it waits for its thread
        if self._given is None:
            if isinstance(here.client, AsyncServers):
                await here.client.disconnect()
            else:
                await here.client.connection_pool.disconnect(inuse_connections=False)

    def _here(self) -> AwaitedTransport:
        """Return the I/O of the running event loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ArgumentError(
                "AsyncRowCache was awaited outside of asyncio, as in trio: it needs a running event loop of asyncio; "
                "in trio, use RowCache in a thread: await trio.to_thread.run_sync(cache.get, 42)"
            ) from None
        here = self._loops.get(loop)
        if here is None:
            forget_closed(self._loops)
            client = self._given or shared_async_client(self._settings.url, self._settings.timeout_s)
            fills = Fills(self._settings, asyncio.Event)
            here = self._loops[loop] = AwaitedTransport(client, self._server, fills)
        return here
