"""Connection pools of the readers: one a process, one an event loop."""

import asyncio
import weakref
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import MaxConnectionsError
from redis.retry import Retry

from rowcache_tasks.config.redis_url import split_servers
from rowcache_tasks.reader.servers import AsyncServers
from rowcache_tasks.schedule.connection import UNBOUND, open_client, open_pool

MAX_ASYNC_CONNECTIONS = 50  # of one event loop: further tasks wait for a free one

CONNECTS_UNDER_LOCK = tuple(map(int, redis.__version__.split(".")[:2])) < (7, 2)
"""Whether ConnectionPool of redis-py opens connections one after another: while Redis hangs, time-outs would add up."""

RETRIED: Any = (redis.ConnectionError,)
"""A connection that the server has closed meanwhile is replaced once; a time-out is not retried."""

loops: "weakref.WeakKeyDictionary[Any, dict[tuple[str, float], redis.asyncio.Redis]]" = weakref.WeakKeyDictionary()


class WaitingPool(redis.asyncio.BlockingConnectionPool):
    """A BlockingConnectionPool that skips its condition and its timer, a fifth of a read, while no task waits."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._waiting = 0

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        """Return a free connection, or a new one while there are fewer than max_connections; else wait for one.

        Raises redis.ConnectionError after `timeout` seconds.
        """
        if not (CONNECTS_UNDER_LOCK or self._waiting) and self.can_get_connection():
            try:
                return await redis.asyncio.ConnectionPool.get_connection(self)  # type: ignore[no-untyped-call]
            except MaxConnectionsError:
                pass  # other tasks took the last ones while a maintenance of the pool held up this one
        self._waiting += 1
        try:
            return await super().get_connection()  # type: ignore[no-untyped-call]
        finally:
            self._waiting -= 1

    async def release(self, connection: Any) -> None:
        """Take a connection back, and wake one waiting task."""
        await redis.asyncio.ConnectionPool.release(self, connection)
        # After the release: a task that began to wait before it did not see the connection, a later one does.
        if self._waiting:
            async with self._condition:
                self._condition.notify()


def forget_closed(loops: "weakref.WeakKeyDictionary[Any, Any]") -> None:
    """Remove the entries of closed event loops.

    A value refers to its loop, so that neither would ever be freed. Connections left open are closed with it.
    """
    for reference in loops.keyrefs():
        loop = reference()
        if loop is not None and loop.is_closed():
            loops.pop(loop, None)


def plain_get(client: Any) -> Callable[[Any], Any]:
    """Return the GET of a client, without the names of keys for its cache if it has none: 3 % of the time of a read."""
    is_plain = (
        type(client) in {redis.Redis, redis.asyncio.Redis} and getattr(client, "get_cache", lambda: None)() is None
    )
    return partial(client.execute_command, "GET") if is_plain else client.get


@cache
def shared_client(url: str, timeout_s: float) -> "redis.Redis":
    """Return this process's client of a server; no read takes longer than timeout_s. Fork-safe."""
    retry = Retry(NoBackoff(), retries=1, supported_errors=RETRIED)
    return open_client(url, "reader", timeout_s / 2, needs_primary=False, retry=retry, max_connections=UNBOUND)


def shared_async_client(url: str, timeout_s: float) -> "redis.asyncio.Redis":
    """Return the running event loop's client of a server; no read takes longer than timeout_s.

    The wait for a free connection comes before that, and takes as long at most.
    """
    forget_closed(loops)
    clients = loops.setdefault(asyncio.get_running_loop(), {})
    if (url, timeout_s) not in clients:
        nodes, is_cluster = split_servers(url)
        open_node = partial(open_async_client, timeout_s=timeout_s)
        several = len(nodes) > 1 or is_cluster
        clients[url, timeout_s] = AsyncServers(nodes, open_node, is_cluster=is_cluster) if several else open_node(url)
    return clients[url, timeout_s]


def open_async_client(url: str, timeout_s: float) -> "redis.asyncio.Redis":
    """Return a client of one server."""
    pool = open_pool(
        WaitingPool,
        url,
        "reader",
        timeout_s / 2,
        needs_primary=False,
        retry=AsyncRetry(NoBackoff(), retries=1, supported_errors=RETRIED),
        max_connections=MAX_ASYNC_CONNECTIONS,
        timeout=timeout_s,
    )
    return redis.asyncio.Redis.from_pool(pool)
