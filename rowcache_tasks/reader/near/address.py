"""Connections of a near cache to the server of a client."""

from collections.abc import Callable
from typing import Any

import redis.asyncio
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.schedule.role import role_connection

AnyClient = redis.Redis | redis.asyncio.Redis

CLASSES: dict[str, Any] = {kind.__name__: kind for kind in (Connection, SSLConnection, UnixDomainSocketConnection)}
"""Name of a class of redis-py, sync or asyncio -> the sync class."""
SENTINEL_CLASSES: dict[str, Any] = {
    kind.__name__: role_connection(kind, needs_primary=False, is_rechecked=False)
    for kind in (SentinelManagedConnection, SentinelManagedSSLConnection)
}
"""The same for clients of threads that ask Sentinels: those of asyncio cannot be asked by a thread."""

KEPT = frozenset(
    {
        *("host", "port", "path", "connection_pool", "db", "username", "password", "credential_provider"),
        *("socket_connect_timeout", "socket_keepalive", "socket_keepalive_options", "socket_type"),
    }
)
"""The options of a client that name its server; its retries, protocol and decoding are not taken over."""


def connection_maker(client: AnyClient, timeout_s: float) -> Callable[[], Any]:
    """Return a function that makes connections to the client's server, each for one thread, not connected yet.

    Raises ArgumentError for a client whose server is not one address.
    """
    pool = client.connection_pool
    kind = pool.connection_class
    classes = CLASSES | SENTINEL_CLASSES if isinstance(client, redis.Redis) else CLASSES
    if (connection_class := classes.get(kind.__name__)) is None:
        raise ArgumentError(
            f"the near cache was given a client with {kind.__name__}: it needs one with the address "
            "of one server (redis://, rediss:// or unix://) or of Sentinels; leave near out, or give url="
        )
    options: dict[str, Any] = {
        name: value for name, value in pool.connection_kwargs.items() if name in KEPT or name.startswith("ssl_")
    }
    options |= {
        "client_name": f"{pool.connection_kwargs.get('client_name') or 'rowcache-reader'}-near",
        "protocol": 3,  # in RESP2 the server cannot push
        "socket_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),  # a new connection does not track the old one's keys
    }
    return lambda: connection_class(**options)
