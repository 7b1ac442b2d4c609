"""I/O of a read: blocking in RowCache, awaited in AsyncRowCache."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from rowcache_tasks.reader.near.cache import NearCache
from rowcache_tasks.reader.options import ReadRequest
from rowcache_tasks.reader.pool import plain_get
from rowcache_tasks.reader.server import Server
from rowcache_tasks.schedule.awaiting import outcome_of
from rowcache_tasks.schedule.script import ScriptCall


class Transport:
    """I/O of threads, whose coroutines never wait."""

    def __init__(self, client: Any, server: Server, fills: Any) -> None:
        self.client, self.get, self._server, self._fills = client, plain_get(client), server, fills

    async def send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands in one round trip; return their replies. Raises CacheError."""
        with self._server:
            if len(commands) == 1:  # without a pipeline, a third faster; its arguments are keys
                (command,) = commands
                return [await outcome_of(self.client.execute_command(*command, keys=command[1:]))]
            pipeline = self.client.pipeline(transaction=False)
            pipeline.command_stack = [(command, {}) for command in commands]  # without a call for each
            replies: list[Any] = await outcome_of(pipeline.execute())
            return replies

    async def call(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Call scripts, one after the other; return the reply of each. Raises CacheError."""
        with self._server:
            return [await call.send(self.client) for call in calls]

    async def fetch(self, near: NearCache, keys: Sequence[bytes]) -> list[bytes] | None:
        """Read values that a near cache does not have; None: read them with the client."""
        return near.fetch_many(keys)

    async def fill(self, row_ids: Sequence[str], request: ReadRequest) -> dict[str, Any]:
        """Read rows from the cache or else from the database, once for all callers: row id -> Found."""
        found: dict[str, Any] = await self._fills.rows(self, row_ids, request)
        return found

    async def load(self, row_ids: Sequence[str] = ()) -> Mapping[str, bytes]:
        """Read rows of the database: row id -> JSON or note. Without row ids: only open it. Raises RowCacheError."""
        loader = self._fills.open_loader()
        return loader.load(row_ids) if row_ids else {}

    async def wait(self, seconds: float, event: Any = None) -> None:
        """Wait for so many seconds, or until the event is set."""
        time.sleep(seconds) if event is None else event.wait(seconds)


class AwaitedTransport(Transport):
    """I/O of an event loop, which none of its connections and waiting tasks can leave."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._running: set[asyncio.Task[Any]] = set()
        self._loader: Any = None

    async def fetch(self, near: NearCache, keys: Sequence[bytes]) -> list[bytes] | None:
        """Await a fetch."""
        return await near.fetch_many_async(keys)

    async def fill(self, row_ids: Sequence[str], request: ReadRequest) -> dict[str, Any]:
        """Fill in a task of its own, which goes on when the caller is cancelled: others wait for it."""
        task = asyncio.ensure_future(super().fill(row_ids, request))
        self._running.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, even if no caller waits for it any more

    async def load(self, row_ids: Sequence[str] = ()) -> Mapping[str, bytes]:
        """Open the loader once, in a thread of its own: it takes a while, and the default executor may be busy."""
        if self._loader is None:
            opener = ThreadPoolExecutor(1)
            try:
                self._loader = await asyncio.wrap_future(opener.submit(self._fills.open_loader))
            finally:
                opener.shutdown(wait=False)
        return await self._loader.load_async(row_ids) if row_ids else {}

    async def wait(self, seconds: float, event: Any = None) -> None:
        """Await a time or an event."""
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(seconds) if event is None else event.wait(), seconds)
