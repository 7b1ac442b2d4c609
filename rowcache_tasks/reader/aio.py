"""Own AsyncRowCache, which asyncio reads with. What is read, and in which steps, is in answer.py and below."""

import asyncio
import weakref
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, TypeVar, overload

import redis.asyncio

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import RowCacheError
from rowcache_tasks.reader.cached_row import CachedRow
from rowcache_tasks.reader.fill.single_flight import Flight
from rowcache_tasks.reader.near.cache import NearCache, NearStatistics
from rowcache_tasks.reader.operations import Answers, RowId, parse_wanted
from rowcache_tasks.reader.options import Target, check_client, find_target
from rowcache_tasks.reader.pool import forget_closed, shared_async_client, shared_client
from rowcache_tasks.reader.port import Step, Steps
from rowcache_tasks.reader.read_through import ReadThrough
from rowcache_tasks.schedule.connection import check_timeout

__all__ = ["AsyncRowCache"]

T = TypeVar("T")
R = TypeVar("R")
K = TypeVar("K", bound=RowId)


class AsyncRowCache(Generic[T]):
    """Reads the cached rows of one table, as RowCache does, with the same options, methods and errors; awaited.

    All readers of an event loop share one pool of connections for each server; a read waits for its turn for up to
    `timeout` seconds. The database is read in threads, as many as the `concurrency` of ReadThrough. A fill goes on when
    the task that asked for it is cancelled: others wait for it.
    """

    @overload
    def __init__(
        self: "AsyncRowCache[dict[str, Any]]",
        table: str,
        *,
        type: None = None,
        url: str | None = None,
        namespace: str | None = None,
        client: "redis.asyncio.Redis | None" = None,
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
        client: "redis.asyncio.Redis | None" = None,
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
        client: "redis.asyncio.Redis | None" = None,
        timeout: float = 1.0,
        near: int = 0,
        read_through: ReadThrough | None = None,
    ) -> None:
        check_client(client, url, redis.asyncio.Redis, "AsyncRowCache")
        self._target = find_target(table, url, namespace, read_through, has_client=client is not None)
        self._timeout_s = check_timeout(timeout)
        self._client = client
        self._type = type
        address = client or shared_client(self._target.url, self._timeout_s)
        self._near = NearCache(address, max_rows=near, wait_s=timeout / 2) if near else None
        self._prefix = self._target.table.keys.value_prefix
        self._decode = Answers.of(self._target, type, asyncio.Event, None).decode
        self._loops: weakref.WeakKeyDictionary[Any, tuple[TaskPort, Answers[T]]] = weakref.WeakKeyDictionary()
        self._fills: set[asyncio.Task[Any]] = set()

    @property
    def table(self) -> Table:
        """The settings of the table that is read."""
        return self._target.table

    async def get(
        self, row_id: RowId, *, max_age: float | None = None, fill: bool = False, delay: float | None = None
    ) -> T | None:
        """Return the row; see RowCache.get."""
        if self._near is not None and max_age is None and delay is None and isinstance(row_id, str):
            kept = self._near.get((self._prefix + row_id).encode("utf-8", "surrogateescape"))
            if kept:
                return self._decode(row_id, kept)
        wanted = parse_wanted(max_age, delay, fill=fill)
        port, answers = self._here()
        steps = answers.get(row_id, wanted)
        return await (self._fill(steps, port) if wanted.is_filled else walk(steps, port))

    async def get_many(
        self,
        row_ids: Iterable[K],
        *,
        max_age: float | None = None,
        fill: bool = False,
        delay: float | None = None,
    ) -> dict[K, T | None]:
        """Return row id -> row or None; see RowCache.get_many."""
        wanted = parse_wanted(max_age, delay, fill=fill)
        port, answers = self._here()
        steps = answers.get_many(row_ids, wanted)
        return await (self._fill(steps, port) if wanted.is_filled else walk(steps, port))

    async def get_with_age(
        self, row_id: RowId, *, max_age: float | None = None, fill: bool = False, delay: float | None = None
    ) -> CachedRow[T] | None:
        """Return the row with its age; see RowCache.get_with_age."""
        wanted = parse_wanted(max_age, delay, fill=fill)
        port, answers = self._here()
        steps = answers.get_with_age(row_id, wanted)
        return await (self._fill(steps, port) if wanted.is_filled else walk(steps, port))

    async def age(self, row_id: RowId) -> float | None:
        """Return the age of the cached value in seconds; see RowCache.age."""
        port, answers = self._here()
        return await walk(answers.age(row_id), port)

    async def exists(self, row_id: RowId) -> bool:
        """Tell whether the row is cached; one EXISTS."""
        port, answers = self._here()
        return await walk(answers.exists(row_id), port)

    def near_statistics(self) -> NearStatistics | None:
        """Return what the near cache of this process has done; None when there is none."""
        return None if self._near is None else self._near.statistics()

    async def close(self) -> None:
        """Close the connections of this event loop; the next read opens new ones. See RowCache.close."""
        if self._near is not None:
            await asyncio.to_thread(self._near.close)  # it waits for its thread
        if self._client is None:
            port, _ = self._here()
            await port.client.connection_pool.disconnect(inuse_connections=False)

    def _here(self) -> "tuple[TaskPort, Answers[T]]":
        """Give what belongs to the running event loop: connections and waiting tasks cannot leave it."""
        loop = asyncio.get_running_loop()
        here = self._loops.get(loop)
        if here is None:
            forget_closed(self._loops)
            client = self._client or shared_async_client(self._target.url, self._timeout_s)
            answers = Answers.of(self._target, self._type, asyncio.Event, self._near)
            here = self._loops[loop] = TaskPort(client, self._target, self._near), answers
        return here

    async def _fill(self, steps: Steps[R], port: "TaskPort") -> R:
        """Look into the cache; what is to be done after that, if anything, goes on when the caller is cancelled."""
        try:
            step = next(steps)
            try:
                reply = await step(port)
            except BaseException as error:  # noqa: BLE001 - given to the read, which may handle it
                step = steps.throw(error)
            else:
                step = steps.send(reply)
        except StopIteration as end:
            result: R = end.value
            return result
        task = asyncio.ensure_future(walk(steps, port, step))
        self._fills.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._fills.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even if nobody waits for it any more


async def walk(steps: Steps[R], port: "TaskPort", step: Step | None = None) -> R:
    """Do the steps of a read one after the other, from `step` on if it has begun."""
    try:
        step = step or next(steps)
        while True:
            try:
                reply = await step(port)
            except BaseException as error:  # noqa: BLE001 - given to the read, which may handle it
                step = steps.throw(error)
            else:
                step = steps.send(reply)
    except StopIteration as end:
        result: R = end.value
        return result


class TaskPort:
    """The I/O of AsyncRowCache in one event loop."""

    def __init__(self, client: Any, target: Target, near: NearCache | None) -> None:
        self.client = client
        self._target = target
        self._near = near
        self._origin: Any = None

    async def prepare(self) -> None:
        """Import SQLAlchemy and make the engine, once."""
        with suppress(RowCacheError):
            await self._open_origin()

    async def fetch(self, row_ids: Sequence[str]) -> dict[str, bytes]:
        """Read rows of the database in a thread."""
        origin = await self._open_origin()
        try:
            reading = asyncio.wrap_future(origin.submit(row_ids))
            outcomes: dict[str, bytes] = await asyncio.wait_for(reading, origin.limit_s)
        except TimeoutError as error:
            raise origin.late(row_ids) from error
        return outcomes

    async def _open_origin(self) -> Any:
        """Open it once, in a thread of its own: it takes a while, and those of the application may all be busy."""
        if self._origin is None:
            opener = ThreadPoolExecutor(1)
            try:
                self._origin = await asyncio.wrap_future(opener.submit(self._target.open_origin))
            finally:
                opener.shutdown(wait=False)
        return self._origin

    async def keep(self, keys: Sequence[bytes]) -> list[bytes] | None:
        """Read values through the near cache."""
        return await self._near.fetch_many_async(keys) if self._near else None

    async def wait(self, flight: Flight[Any] | None, seconds: float) -> None:
        """Wait for a flight, or for a time."""
        if flight is None:
            await asyncio.sleep(seconds)
            return
        try:
            await asyncio.wait_for(flight.event.wait(), seconds)
        except TimeoutError:
            return
