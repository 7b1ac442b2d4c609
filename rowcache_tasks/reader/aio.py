"""AsyncRowCache: reads of cached rows from asyncio."""

import asyncio
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

import redis.asyncio

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.reader.age import OPENINGS
from rowcache_tasks.reader.fill.protocol import Fills, open_loader
from rowcache_tasks.reader.operations import CachedRow, K
from rowcache_tasks.reader.options import AS_CACHED, FILLED, AsyncOptions, ReadOptions, parse_request
from rowcache_tasks.reader.pool import LoopState, forget_closed, plain_get, shared_async_client
from rowcache_tasks.reader.reader import Reader
from rowcache_tasks.reader.server import CLIENT_ERRORS
from rowcache_tasks.reader.servers import AsyncServers
from rowcache_tasks.reader.step import Call, Fetch, Fill, Load, Step, Steps, T
from rowcache_tasks.reader.types.decoder import DECODE_ERRORS, Row
from rowcache_tasks.schedule.arguments import Delay
from rowcache_tasks.schedule.row_id import Key, Many, encode_row_id, key_text

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
        text = row_id if type(row_id) is str and row_id and row_id.isascii() else key_text(row_id)
        if max_age is None and delay is None and self._near is None and not self._breaker.failures:
            # Most reads: one GET, and as few calls of functions as possible.
            key = (self._prefix or self._prefix_of(text)) + text
            try:
                value = await self._here().get(key if key.isascii() else encode_row_id(key))
            except CLIENT_ERRORS as error:
                return await self._run(self._one_after(row_id, text, FILLED if fill else AS_CACHED, error))
            if value is None or (fill and value[:1] not in OPENINGS):
                return await self._run(self._one_missed(row_id, text, fill=fill)) if fill or self._grows else None
            try:
                return self._decode(value)
            except DECODE_ERRORS as error:
                return self._decoder.decode_refused(row_id, value, error)
        if self._near is not None and max_age is None and delay is None:
            kept = self._near.get(((self._prefix or self._prefix_of(text)) + text).encode("utf-8", "surrogateescape"))
            if kept:
                return self._decoder.decode(row_id, kept)
        return await self._run(self._one(row_id, text, parse_request(max_age, delay, fill=fill)))

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
        return await self._run(self._many(row_ids, parse_request(max_age, delay, fill=fill)))

    async def get_with_age(
        self, row_id: Key, *, max_age: Delay | None = None, fill: bool = False, delay: Delay | None = None
    ) -> CachedRow[Row] | None:
        """Return the row with its age; see RowCache.get_with_age."""
        return await self._run(self._one_with_age(row_id, parse_request(max_age, delay, fill=fill)))

    async def age(self, row_id: Key) -> float | None:
        """Return the age of the cached value in seconds; see RowCache.age."""
        return await self._run(self._age(row_id))

    async def exists(self, row_id: Key) -> bool:
        """Return whether the row is cached; one EXISTS."""
        return await self._run(self._exists(row_id))

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
            fills = Fills(self._settings.table, self._settings.read_through, asyncio.Event)
            here = self._loops[loop] = LoopState(client, plain_get(client), fills)
        return here

    async def _run(self, steps: Steps[T]) -> T:
        """Do the steps of a read one after the other."""
        here = self._here()
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
            result: T = end.value
            return result

    async def _do(self, step: Step, here: LoopState) -> Any:
        if isinstance(step, Call):
            with self._server:
                return [await request.run_awaited(here.client) for request in step.requests]
        if isinstance(step, Fetch):
            return self._near and await self._near.fetch_many_async(step.keys)
        if isinstance(step, Fill):
            return await self._fill_in_task(here.fills.rows(step.row_ids, step.request))
        if isinstance(step, Load):
            loader = await self._open_loader(here)
            return await loader.load_async(step.row_ids) if step.row_ids else {}
        waiting = asyncio.sleep(step.seconds) if step.event is None else step.event.wait()
        with suppress(TimeoutError):
            return await asyncio.wait_for(waiting, step.seconds)

    async def _fill_in_task(self, steps: Steps[T]) -> T:
        """Fill rows in a task of its own, which goes on when the caller is cancelled."""
        task = asyncio.ensure_future(self._run(steps))
        self._running.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, even if no caller waits for it any more

    async def _open_loader(self, here: LoopState) -> "Loader":
        """Open the loader once, in a thread of its own: it takes a while, and the default executor may be busy."""
        if here.loader is None:
            opener = ThreadPoolExecutor(1)
            try:
                here.loader = await asyncio.wrap_future(opener.submit(open_loader, self._settings))
            finally:
                opener.shutdown(wait=False)
        return here.loader
