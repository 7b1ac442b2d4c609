"""Client of several servers for asyncio: reads and fills of rows."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.client import Pipeline
from redis.exceptions import MovedError

from rowcache_tasks.schedule.node import Node, is_moving, key_of, keys_of
from rowcache_tasks.schedule.slot_map import MOVING_PAUSE_S, TRIES, SlotMap


class AsyncServers(SlotMap, redis.asyncio.Redis):  # type: ignore[misc]  # within redis-py
    """Client of several servers, as Servers is for threads."""

    def __init__(self, urls: Sequence[str], open_node: Callable[[str], Any], *, is_cluster: bool) -> None:
        SlotMap.__init__(self, urls, open_node, is_cluster=is_cluster)
        redis.asyncio.Redis.__init__(self, connection_pool=self.home.connection_pool)
        self._checking: asyncio.Task[None] | None = None

    async def know_slots(self) -> None:
        """Ask for the slots, unless they are known."""
        if not self.has_slots:
            await self._find_slots()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the node of its key; again to the next if the slot has moved."""
        await self.know_slots()
        key = key_of(args)
        node, is_asking = self.serving(key), False
        for left in reversed(range(TRIES)):
            try:
                with node as client:
                    if is_asking:
                        return await ask(client, args)
                    return await client.execute_command(*args, **options)
            except redis.ResponseError as error:
                node, is_asking = self.redirected(error, node, key, left)
            await asyncio.sleep(0 if left > TRIES - 3 else MOVING_PAUSE_S)
        raise AssertionError

    async def read_again(self, command: Sequence[Any], refusal: Any) -> Any:
        """Send a command that was refused since its slot moves; return its reply or its error."""
        try:
            if command[0] == "MGET" and not isinstance(refusal, MovedError):
                return [(await self.execute_command("MGET", key))[0] for key in command[1:]]
            return await self.execute_command(*command)
        except redis.RedisError as error:
            return error

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "AsyncServersPipeline":
        """Return a pipeline, which is no transaction."""
        return AsyncServersPipeline(self)

    def check_later(self) -> None:
        """Ask the nodes that are away, and for the slots, in a task."""
        if (self._checking is None or self._checking.done()) and self.is_check_due():
            self._checking = asyncio.ensure_future(self._check())

    async def _check(self) -> None:
        for node in self.asked_nodes():
            if node.away:
                try:
                    await node.client.ping()
                    node.away = ""
                except redis.RedisError as error:
                    node.away = str(error)
        if self.is_cluster:
            try:
                await self._find_slots()
            except redis.RedisError:
                return  # asked again at the next command

    async def _find_slots(self) -> None:
        last: Exception = redis.ConnectionError("the cluster has no nodes")
        for node in self.asked_nodes():
            try:
                self.take_slots(node, await node.client.execute_command("CLUSTER", "SLOTS"))
            except redis.RedisError as error:
                last = error
            else:
                return
        raise last

    async def disconnect(self) -> None:
        """Close the connections that are not in use."""
        for node in self.asked_nodes():
            await node.client.connection_pool.disconnect(inuse_connections=False)


async def ask(client: Any, command: Sequence[Any]) -> Any:
    """Send a command to the node that its slot is being moved to. Raises its error."""
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("ASKING")
    pipeline.execute_command(*command)
    reply = (await pipeline.execute(raise_on_error=False))[-1]
    if isinstance(reply, Exception):
        raise reply
    return reply


class AsyncServersPipeline(Pipeline):
    """Commands to several nodes, all at the same time."""

    def __init__(self, servers: AsyncServers) -> None:
        super().__init__(servers.connection_pool, servers.response_callbacks, False, None)
        self._servers = servers

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Return the replies in the order of the commands; raises the first error, or returns it in its place."""
        stack, self.command_stack = self.command_stack, []
        await self._servers.know_slots()
        by_node: dict[Node, list[int]] = {}
        for place, key in enumerate(keys_of([command for command, _ in stack])):
            by_node.setdefault(self._servers.serving(key), []).append(place)
        replies: list[Any] = [None] * len(stack)
        found = await asyncio.gather(
            *(self._send(node, [stack[place] for place in some]) for node, some in by_node.items())
        )
        for some, parts in zip(by_node.values(), found, strict=True):
            for place, reply in zip(some, parts, strict=True):
                replies[place] = await self._servers.read_again(stack[place][0], reply) if is_moving(reply) else reply
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
