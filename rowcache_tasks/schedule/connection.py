"""Connections to the Redis of the cache: time-outs, retries, names."""

from typing import Any

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.retry import Retry

from rowcache_tasks.config.redis_url import split_sentinels, split_servers
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.schedule.credentials import load_provider
from rowcache_tasks.schedule.role import role_connection
from rowcache_tasks.schedule.sentinels import AsyncSentinels, Sentinels
from rowcache_tasks.schedule.servers import NODE_TIMEOUT_S, Servers

SOCKET_TIMEOUT_S = 5.0  # a server without an answer for so long is gone; a call hangs for a few of these at most

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


def check_timeout(timeout: object) -> float:
    """Accept a number of seconds. Raises ArgumentError."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0.01 <= timeout <= 600:
        raise ArgumentError(f"timeout is {shorten(timeout)}: allowed is a number of seconds from 0.01 to 600")
    return float(timeout)
