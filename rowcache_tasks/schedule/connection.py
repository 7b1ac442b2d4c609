"""Connections to the Redis of the cache: time-outs, retries, names."""

from typing import Any

import redis
import redis.asyncio
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.schedule.role import role_connection
from rowcache_tasks.text import shorten

SOCKET_TIMEOUT_S = 5.0
"""A server that does not answer for so long counts as gone; no caller hangs for longer than a few of these."""

UNBOUND = 2**31
"""Connections of one process: each thread uses two at most. The default of redis-py is 100, and more is an error."""


def connect(url: str, role: str) -> "redis.Redis":
    """Return a client; no connection is opened before its first command.

    A command that fails on a broken connection is sent again on a new one, twice, within a second: every script here
    may run twice without harm.
    """
    return redis.Redis.from_url(
        url,
        **connection_options(url, role, SOCKET_TIMEOUT_S),
        health_check_interval=30,
        max_connections=UNBOUND,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries=2),
    )


def connection_options(
    url: str, role: str, timeout_s: float, *, needs_primary: bool = True, is_async: bool = False
) -> dict[str, Any]:
    """Return the options of every connection; `timeout_s` to connect, and for each answer.

    `role` shows in CLIENT LIST. Only readers may use a replica, until the address leads to the primary.
    """
    module: Any = redis.asyncio.connection if is_async else redis.connection
    kind = module.parse_url(url).get("connection_class", module.Connection)
    # A Unix socket has no peer that could vanish silently, and redis-py refuses the option for it.
    keepalive = {} if url.startswith("unix:") else {"socket_keepalive": True}
    timeouts = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    watched = role_connection(kind, needs_primary=needs_primary)
    return {"client_name": f"rowcache-{role}", "connection_class": watched, **timeouts, **keepalive}


def check_timeout(timeout: object) -> float:
    """Accept a number of seconds. Raises ArgumentError."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0.01 <= timeout <= 600:
        raise ArgumentError(f"timeout is {shorten(timeout)}: allowed is a number of seconds from 0.01 to 600")
    return float(timeout)
