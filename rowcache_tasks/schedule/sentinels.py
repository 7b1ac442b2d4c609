"""Sentinels asked for the primary of a failover pair."""

from collections.abc import Iterable
from typing import Any

import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry


class PrimaryUnknownError(redis.TimeoutError):
    """Sentinels name no primary. A TimeoutError: the question may have taken all its time, and is not repeated."""

    def __init__(self, service: str) -> None:
        super().__init__(f"No master found for {service!r}: its Sentinels are away, or elect a primary")


class SentinelPool(redis.ConnectionPool):
    """Connections to one Sentinel, each closed after its answer: questions are rare."""

    def release(self, connection: Any) -> None:
        """Close a connection."""
        connection.disconnect()
        super().release(connection)


class AsyncSentinelPool(redis.asyncio.ConnectionPool):
    """SentinelPool of an event loop."""

    async def release(self, connection: Any) -> None:
        """Close a connection, without a wait that could be cancelled."""
        await connection.disconnect(nowait=True)
        await super().release(connection)


class Sentinels(redis.sentinel.Sentinel):
    """Sentinels asked one after the other; `timeout_s` is the time of all."""

    def __init__(self, nodes: Iterable[tuple[str, int]], kind: type[Any], timeout_s: float, **options: Any) -> None:
        super().__init__([])  # type: ignore[no-untyped-call]
        options["retry"] = Retry(NoBackoff(), 0)
        pools = pools_of(SentinelPool, nodes, kind, timeout_s, options)
        self.sentinels = [redis.Redis.from_pool(pool) for pool in pools]

    def discover_master(self, service_name: str) -> Any:
        """Return the host and port of the primary. Raises PrimaryUnknownError."""
        try:
            return super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except redis.sentinel.MasterNotFoundError:  # lists all options of the connections
            raise PrimaryUnknownError(service_name) from None


class AsyncSentinels(redis.asyncio.sentinel.Sentinel):
    """Sentinels of an event loop."""

    def __init__(self, nodes: Iterable[tuple[str, int]], kind: type[Any], timeout_s: float, **options: Any) -> None:
        super().__init__([])  # type: ignore[no-untyped-call]
        options["retry"] = AsyncRetry(NoBackoff(), 0)
        pools = pools_of(AsyncSentinelPool, nodes, kind, timeout_s, options)
        self.sentinels = [redis.asyncio.Redis.from_pool(pool) for pool in pools]

    async def discover_master(self, service_name: str) -> Any:
        """Return the host and port of the primary. Raises PrimaryUnknownError."""
        try:
            return await super().discover_master(service_name)
        except redis.asyncio.sentinel.MasterNotFoundError:
            raise PrimaryUnknownError(service_name) from None


def pools_of(
    pool: type[Any], nodes: Iterable[tuple[str, int]], kind: type[Any], timeout_s: float, options: dict[str, Any]
) -> list[Any]:
    """Return a pool for each Sentinel, with its part of the time: half to connect, half for the answer."""
    nodes = list(nodes)
    part = timeout_s / len(nodes) / 2
    options = options | {"socket_timeout": part, "socket_connect_timeout": part, "connection_class": kind}
    return [pool(host=host, port=port, **options) for host, port in nodes]
