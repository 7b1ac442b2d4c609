"""AsyncRowCache: reads of cached rows from asyncio."""

import asyncio
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

import redis.asyncio

from rowcache_tasks.errors import ArgumentError, CacheError
from rowcache_tasks.reader.fill.protocol import DATABASE_ALONE, Call, Fill, Load, Step, Steps, open_loader
from rowcache_tasks.reader.fill.scripts import Found
from rowcache_tasks.reader.operations import OPENINGS, CachedRow, K, Reader, is_missed, is_object, texts_of
from rowcache_tasks.reader.options import AS_CACHED, FILLED, AsyncOptions, ReadOptions, ReadRequest, parse_request
from rowcache_tasks.reader.pool import LoopState, forget_closed, shared_async_client
from rowcache_tasks.reader.server import CLIENT_ERRORS, PIECE, is_wrong_type, send
from rowcache_tasks.reader.types.decoder import Row
from rowcache_tasks.schedule.arguments import Delay
from rowcache_tasks.schedule.row_id import Key, Many, key_text

if TYPE_CHECKING:
    from rowcache_tasks.reader.fill.loader import Loader


class AsyncRowCache(Reader[Row]):
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
        self._loops: weakref.WeakKeyDictionary[Any, LoopState] = weakref.WeakKeyDictionary()
        self._running: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(
        self, row_id: Key, *, max_age: Delay | None = None, fill: bool = False, delay: Delay | None = None
    ) -> Row | None:
        """Return the row; see RowCache.get."""
        if max_age is None and delay is None:
            request = FILLED if fill else AS_CACHED
        else:
            request = parse_request(max_age, delay, fill=fill)
        text = row_id if type(row_id) is str and row_id and row_id.isascii() else key_text(row_id)
        if request.max_age is not None:
            found = (await self._aged([text], request))[text]
            return self._row(row_id, self._fresh_value(found, request))
        key = (self._prefix + text).encode("utf-8", "surrogateescape")
        if self._near is not None and (kept := self._near.get(key)):
            return self._decode(row_id, kept)
        if self._near is not None or self._breaker.failures:
            return self._row(row_id, (await self._values([text], request))[0])
        # Most reads: one GET, and as few calls of functions as possible.
        try:
            value = await self._here().client.get(key)
        except CLIENT_ERRORS as error:
            if is_wrong_type(error):  # which MGET treats as not there
                value = (await self._values([text], request))[0]
            else:
                value = (await self._fill_without_redis(self._server.failure(error), [text]))[text][0]
        else:
            if value is not None and (not fill or value[:1] in OPENINGS):
                return self._decode(row_id, value)
            if fill:
                value = (await self._fill([text], request))[text][0]
        return None if value is None else self._row(row_id, value)

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
        request = parse_request(max_age, delay, fill=fill)
        asked = texts_of(row_ids)
        texts = list(asked.values())
        if not texts:
            return {}
        if request.max_age is None:
            return self._rows(asked, await self._values(texts, request))
        found = await self._aged(texts, request)
        return self._rows(asked, [self._fresh_value(found[text], request) for text in texts])

    async def get_with_age(
        self, row_id: Key, *, max_age: Delay | None = None, fill: bool = False, delay: Delay | None = None
    ) -> CachedRow[Row] | None:
        """Return the row with its age; see RowCache.get_with_age."""
        request, text = parse_request(max_age, delay, fill=fill), key_text(row_id)
        return self._cached_row(row_id, (await self._aged([text], request))[text], request)

    async def age(self, row_id: Key) -> float | None:
        """Return the age of the cached value in seconds; see RowCache.age."""
        commands = self._age_commands(key_text(row_id))
        with self._server:
            return self._read_age(await send(self._here().client, commands))

    async def exists(self, row_id: Key) -> bool:
        """Return whether the row is cached; one EXISTS."""
        keys = self._keys([key_text(row_id)])
        with self._server:
            return bool(await self._here().client.exists(*keys))

    async def close(self) -> None:
        """Close the connections of this event loop; the next read opens new ones. See RowCache.close."""
        here = self._here()
        if self._near is not None:
            await asyncio.to_thread(self._near.close)  # it waits for its thread
        if self._given is None:
            await here.client.connection_pool.disconnect(inuse_connections=False)

    def _here(self) -> LoopState:
        """Return the state of the running event loop."""
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
            client = self._given or shared_async_client(self._settings.url, self._timeout_s)
            fills = Fill(self._settings.table, self._settings.read_through, asyncio.Event)
            here = self._loops[loop] = LoopState(client, fills)
        return here

    async def _values(self, row_ids: Sequence[str], request: ReadRequest) -> list[bytes | None]:
        """Read values in the order asked."""
        keys, client = self._keys(row_ids), self._here().client
        values = None if self._near is None else await self._near.read_many_async(keys)
        if values is None:
            try:
                with self._server:
                    if len(keys) <= PIECE:
                        values = await client.mget(keys)
                    else:
                        values = [*chain.from_iterable(await send(client, self._value_commands(keys)))]
            except CacheError as error:
                filled = await self._fill_without_redis(error, row_ids)
                return [filled[row_id][0] for row_id in row_ids]
        missed = [text for text, value in zip(row_ids, values, strict=True) if not is_object(value)]
        if missed and request.is_filled:
            filled = await self._fill(missed, request)
            values = [filled[text][0] if text in filled else value for text, value in zip(row_ids, values, strict=True)]
        return values

    async def _aged(self, row_ids: Sequence[str], request: ReadRequest) -> dict[str, Found]:
        """Read values with their ages, in one round trip."""
        try:
            with self._server:
                reply = await send(self._here().client, self._aged_commands(row_ids))
        except CacheError as error:
            return await self._fill_without_redis(error, row_ids)
        found = self._read_aged(row_ids, reply)
        missed = [row_id for row_id, each in found.items() if is_missed(each, request)]
        return found | await self._fill(missed, request) if missed else found

    async def _fill_without_redis(self, error: CacheError, row_ids: Sequence[str]) -> dict[str, Found]:
        """Read rows from the database alone, if the options allow it; else raise the error."""
        if not self._settings.read_through.when_redis_is_down:
            raise error
        return await self._fill(row_ids, DATABASE_ALONE)

    async def _fill(self, row_ids: Sequence[str], request: ReadRequest) -> dict[str, Found]:
        """Fill rows in a task of its own, which goes on when the caller is cancelled."""
        here = self._here()
        task = asyncio.ensure_future(self._run(here.fills.rows(row_ids, request), here))
        self._running.add(task)
        task.add_done_callback(self._forget)
        found = await asyncio.shield(task)
        if self._near is not None:  # it may not have the invalidations of these writes yet
            self._near.forget(self._keys(found))
        return found

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, even if no caller waits for it any more

    async def _run(self, steps: Steps, here: LoopState) -> dict[str, Found]:
        """Do the steps of a fill one after the other."""
        try:
            step = next(steps)
            while True:
                try:
                    reply = await self._do(step, here)
                except BaseException as error:  # noqa: BLE001 - raised in the generator, which may handle it
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            found: dict[str, Found] = end.value
            return found

    async def _do(self, step: Step, here: LoopState) -> Any:
        if isinstance(step, Call):
            with self._server:
                return [await call.run_awaited(here.client) for call in step.calls]
        if isinstance(step, Load):
            loader = await self._open_loader(here)
            return await loader.load_async(step.row_ids) if step.row_ids else {}
        if step.event is None:
            return await asyncio.sleep(step.seconds)
        try:
            return await asyncio.wait_for(step.event.wait(), step.seconds)
        except TimeoutError:
            return None

    async def _open_loader(self, here: LoopState) -> "Loader":
        """Open the loader once, in a thread of its own: it takes a while, and the default executor may be busy."""
        if here.loader is None:
            opener = ThreadPoolExecutor(1)
            try:
                here.loader = await asyncio.wrap_future(opener.submit(open_loader, self._settings))
            finally:
                opener.shutdown(wait=False)
        return here.loader
