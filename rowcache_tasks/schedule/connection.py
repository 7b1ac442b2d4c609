"""Connections to the Redis of the cache: time-outs, retries, names, Sentinels, credentials that expire."""

import os
import pkgutil
from collections.abc import Sequence
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.credentials import CredentialProvider
from redis.retry import Retry

from rowcache_tasks.config.redis_url import split_sentinels, split_servers
from rowcache_tasks.config.source import current_directory
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.errors.text import hide_logins, one_line, shorten
from rowcache_tasks.schedule.role import role_connection
from rowcache_tasks.schedule.servers import NODE_TIMEOUT_S, Servers

SOCKET_TIMEOUT_S = 5.0  # a server without an answer for so long is gone; a call hangs for a few of these at most

providers: dict[tuple[int, str], CredentialProvider] = {}
"""Process and name -> its provider: one for all servers. A thread of a provider does not outlive a fork."""

UNBOUND = 2**31  # connections: each thread uses two at most. The default of redis-py is 100, and more is an error


def connect(url: str, role: str) -> "redis.Redis":
    """Return a client; no connection is opened before its first command.

    A command that fails on a broken connection is sent again on a new one, twice, within a second: every script here
    may run twice without harm.
    """
    retry = Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries=2)
    return open_client(url, role, SOCKET_TIMEOUT_S, retry=retry, health_check_interval=30, max_connections=UNBOUND)


def open_client(url: str, role: str, timeout_s: float, **options: Any) -> "redis.Redis":
    """Return a client with a pool of its own, as open_pool; of several servers, one for each."""
    urls, is_cluster = split_servers(url)
    if not is_cluster and len(urls) == 1:
        return redis.Redis.from_pool(open_pool(redis.ConnectionPool, url, role, timeout_s, **options))
    options["retry"] = Retry(NoBackoff(), retries=1, supported_errors=(redis.ConnectionError,))
    timeout_s = min(timeout_s, NODE_TIMEOUT_S)
    return Servers(urls, lambda node: open_client(node, role, timeout_s, **options), is_cluster=is_cluster)


def open_pool(
    pool: type[Any], url: str, role: str, timeout_s: float, *, needs_primary: bool = True, **options: Any
) -> Any:
    """Return a pool of connections of redis-py to a server, or to the primary that Sentinels name.

    `pool` is its class, of threads or of asyncio; `timeout_s` is to ask all Sentinels, to connect, and for each answer.
    `role` shows in CLIENT LIST. Only readers may use a replica, until the address leads to the primary.
    """
    is_async = issubclass(pool, redis.asyncio.ConnectionPool)
    module: Any = redis.asyncio if is_async else redis
    sentinels = split_sentinels(url)
    server = module.connection.parse_url(sentinels.server if sentinels else url)
    if named := server.get("credential_provider"):
        server["credential_provider"] = load_provider(named)
    kind = server.pop("connection_class", module.Connection)
    options |= {"client_name": f"rowcache-{role}", "socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    if not issubclass(kind, module.UnixDomainSocketConnection):  # it has no peer that could vanish silently
        options["socket_keepalive"] = True
    options |= server
    if sentinels is None:
        return pool(connection_class=role_connection(kind, needs_primary=needs_primary), **options)
    is_tls = issubclass(kind, module.SSLConnection)
    of_tls = {name: value for name, value in server.items() if name.startswith("ssl_")}
    manager = (AsyncSentinels if is_async else Sentinels)(sentinels.nodes, kind, timeout_s, **of_tls, **sentinels.login)
    kind = module.sentinel.SentinelManagedSSLConnection if is_tls else module.sentinel.SentinelManagedConnection
    options["connection_class"] = role_connection(kind, needs_primary=needs_primary)
    for name in ("host", "port"):
        options.pop(name)
    return type("PrimaryPool", (module.sentinel.SentinelConnectionPool, pool), {})(sentinels.master, manager, **options)


def load_provider(name: str) -> CredentialProvider:
    """Return what module:callable returns: redis-py asks it for the login of each connection. Raises ConfigError.

    The module may be in the current directory, as celeryconfig.py. kombu makes that of the broker in the same way.
    """
    place = os.getpid(), name
    if place in providers:
        return providers[place]
    try:
        with current_directory():
            provider = pkgutil.resolve_name(name)()
    except Exception as error:
        reason = hide_logins(one_line(f"{type(error).__name__}: {error}"))
        raise ConfigError(f"credential_provider {name} cannot be called: {reason}") from error
    if not isinstance(provider, CredentialProvider):
        found = type(provider).__name__
        raise ConfigError(f"credential_provider {name} returned a {found}: allowed is a redis.CredentialProvider")
    providers[place] = provider
    return provider


def check_timeout(timeout: object) -> float:
    """Accept a number of seconds. Raises ArgumentError."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0.01 <= timeout <= 600:
        raise ArgumentError(f"timeout is {shorten(timeout)}: allowed is a number of seconds from 0.01 to 600")
    return float(timeout)


class PrimaryUnknownError(redis.TimeoutError):
    """Sentinels name no primary. A TimeoutError: the question may have taken all its time, and is not repeated."""

    def __init__(self, service: str) -> None:
        super().__init__(
            f"No master found for {service!r}: its Sentinels are away, elect a primary, or have no such name"
        )


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


class AsksForPrimary:
    """Part of a client of Sentinels, which are asked one after the other; `timeout_s` is the time of all."""

    retry: type[Any] = Retry
    client: type[Any] = redis.Redis
    pool: type[Any] = SentinelPool

    def __init__(self, nodes: Sequence[tuple[str, int]], kind: type[Any], timeout_s: float, **options: Any) -> None:
        super().__init__([])  # type: ignore[call-arg]
        part_s = timeout_s / len(nodes) / 2  # half of the time of each to connect, half for the answer
        options |= {"socket_timeout": part_s, "socket_connect_timeout": part_s, "connection_class": kind}
        options["retry"] = self.retry(NoBackoff(), 0)
        self.sentinels = [self.client.from_pool(self.pool(host=host, port=port, **options)) for host, port in nodes]


class Sentinels(AsksForPrimary, redis.sentinel.Sentinel):
    """Sentinels of threads."""

    def discover_master(self, service_name: str) -> Any:
        """Return the host and port of the primary. Raises PrimaryUnknownError."""
        try:
            return super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except redis.sentinel.MasterNotFoundError:  # lists all options of the connections
            raise PrimaryUnknownError(service_name) from None


class AsyncSentinels(AsksForPrimary, redis.asyncio.sentinel.Sentinel):
    """Sentinels of an event loop."""

    retry, client, pool = AsyncRetry, redis.asyncio.Redis, AsyncSentinelPool

    async def discover_master(self, service_name: str) -> Any:
        """Return the host and port of the primary. Raises PrimaryUnknownError."""
        try:
            return await super().discover_master(service_name)
        except redis.asyncio.sentinel.MasterNotFoundError:
            raise PrimaryUnknownError(service_name) from None
