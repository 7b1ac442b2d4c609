"""Own the connections of readers: one pool for a server in a process, one in an event loop. Must not know keys."""

import asyncio
import weakref
from functools import cache
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from rowcache_tasks.reader.waiting_pool import WaitingPool
from rowcache_tasks.schedule.connection import UNBOUND, connection_options

__all__ = ["forget_closed", "shared_async_client", "shared_client"]

MAX_ASYNC_CONNECTIONS = 50
"""Of one event loop: further tasks wait for a free one."""

RETRIED: Any = (redis.ConnectionError,)
"""A connection that the server has closed meanwhile is replaced once. One that does not answer is not asked again."""

loops: "weakref.WeakKeyDictionary[Any, dict[tuple[str, float], redis.asyncio.Redis]]" = weakref.WeakKeyDictionary()


def forget_closed(loops: "weakref.WeakKeyDictionary[Any, Any]") -> None:
    """Let go of what belongs to closed event loops.

    It refers to its loop, so that neither would ever go away; the connections that nobody has closed are closed then.
    """
    for reference in loops.keyrefs():
        loop = reference()
        if loop is not None and loop.is_closed():
            loops.pop(loop, None)


@cache
def shared_client(url: str, timeout_s: float) -> "redis.Redis":
    """Return this process's client of a server; no read takes longer than timeout_s. Safe across a fork."""
    retry = Retry(NoBackoff(), retries=1, supported_errors=RETRIED)
    options = connection_options(url, "reader", timeout_s / 2)
    return redis.Redis.from_url(url, **options, retry=retry, max_connections=UNBOUND)


def shared_async_client(url: str, timeout_s: float) -> "redis.asyncio.Redis":
    """Return the running event loop's client of a server; no read takes longer than timeout_s.

    A read may have to wait for a connection before that, for as long at most.
    """
    forget_closed(loops)
    clients = loops.setdefault(asyncio.get_running_loop(), {})
    if (url, timeout_s) not in clients:
        pool = WaitingPool.from_url(
            url,
            **connection_options(url, "reader", timeout_s / 2),
            retry=AsyncRetry(NoBackoff(), retries=1, supported_errors=RETRIED),
            max_connections=MAX_ASYNC_CONNECTIONS,
            timeout=timeout_s,
        )
        clients[url, timeout_s] = redis.asyncio.Redis.from_pool(pool)
    return clients[url, timeout_s]
