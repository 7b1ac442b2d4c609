"""Client of several servers for asyncio: reads and fills of rows."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.client import Pipeline
from redis.exceptions import MovedError

from rowcache_tasks.schedule.node import Node, is_moving, keys_of
from rowcache_tasks.schedule.slot_map import SlotMap


class AsyncServers(SlotMap, redis.asyncio.Redis):  # type: ignore[misc]  # within redis-py
    """Client of several servers, as Servers is for threads."""

    def __init__(self, urls: Sequence[str], open_node: Callable[[str], Any], *, is_cluster: bool) -> None:
        SlotMap.__init__(self, urls, open_node, is_cluster=is_cluster)
        redis.asyncio.Redis.__init__(self, connection_pool=self.home.connection_pool)
        self._checking: asyncio.Task[None] | None = None

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the node of its key."""
        return await self.execute(args, options)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "AsyncServersPipeline":
        """Return a pipeline, which is no transaction."""
        return AsyncServersPipeline(self)

    def check_later(self) -> None:
        """Ask the nodes that are away, and for the slots, in a task."""
        if (self._checking is None or self._checking.done()) and self.is_check_due():
            self._checking = asyncio.ensure_future(self.check())

    sleep = staticmethod(asyncio.sleep)

    async def disconnect(self) -> None:
        """Close the connections that are not in use."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait([self._checking])
        for node in self.asked_nodes():
            await node.client.connection_pool.disconnect(inuse_connections=False)


class AsyncServersPipeline(Pipeline):
    """Commands to several nodes, all at the same time."""

    def __init__(self, servers: AsyncServers) -> None:
        super().__init__(servers.connection_pool, servers.response_callbacks, False, None)
        self._servers = servers

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Return the replies in the order of the commands; raises the first error, or returns it in its place."""
        stack, self.command_stack = self.command_stack, []
        if not self._servers.has_slots:
            await self._servers.find_slots()
        by_node: dict[Node, list[int]] = {}
        for place, key in enumerate(keys_of([command for command, _ in stack])):
            by_node.setdefault(self._servers.serving(key), []).append(place)
        replies: list[Any] = [None] * len(stack)
        found = await asyncio.gather(
            *(self._send(node, [stack[place] for place in some]) for node, some in by_node.items())
        )
        for some, parts in zip(by_node.values(), found, strict=True):
            for place, reply in zip(some, parts, strict=True):
                replies[place] = await self._servers.repeat(stack[place][0], reply) if is_moving(reply) else reply
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies

    async def _send(self, node: Node, stack: list[Any]) -> list[Any]:
        try:
            with node as client:
                pipeline = client.pipeline(transaction=False)
                pipeline.command_stack = stack
                replies: list[Any] = await pipeline.execute(raise_on_error=False)
                for reply in replies:
                    if isinstance(reply, MovedError):
                        self._servers.note_moved(reply, node)
                return replies
        except redis.ConnectionError as error:
            return [error] * len(stack)
