"""Own how the connection of a near cache is made: the options of a client, in redis-py's own connection of RESP3.

Must not know what is asked on it.
"""

from collections.abc import Callable
from typing import Any

import redis.asyncio
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry

from rowcache_tasks.errors import ArgumentError

__all__ = ["AnyClient", "listener_of"]

AnyClient = redis.Redis | redis.asyncio.Redis

CLASSES: dict[Any, Any] = {
    Connection: Connection,
    SSLConnection: SSLConnection,
    UnixDomainSocketConnection: UnixDomainSocketConnection,
    redis.asyncio.Connection: Connection,
    redis.asyncio.SSLConnection: SSLConnection,
    redis.asyncio.UnixDomainSocketConnection: UnixDomainSocketConnection,
}

KEPT = frozenset(
    {
        *("host", "port", "path", "db", "username", "password", "credential_provider"),
        *("socket_connect_timeout", "socket_keepalive", "socket_keepalive_options", "socket_type"),
    }
)
"""What a client says of where its server is. Its retries, protocol and decoding are none of our business."""


def listener_of(client: AnyClient, timeout_s: float) -> Callable[[], Any]:
    """Give what makes connections to the client's server, each for one thread, not connected yet.

    Raises ArgumentError for a client whose server is not one address.
    """
    pool = client.connection_pool
    connection_class = CLASSES.get(pool.connection_class)
    if connection_class is None:
        raise ArgumentError(
            f"the near cache was given a client with {pool.connection_class.__name__}: it needs one with the address "
            "of one server (redis://, rediss:// or unix://); leave near out, or give url="
        )
    options: dict[str, Any] = {
        name: value for name, value in pool.connection_kwargs.items() if name in KEPT or name.startswith("ssl_")
    }
    options |= {
        "client_name": f"{pool.connection_kwargs.get('client_name') or 'rowcache-reader'}-near",
        "protocol": 3,  # in RESP2 the server cannot push
        "socket_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),  # a connection that is made anew has lost what was tracked
    }
    return lambda: connection_class(**options)
