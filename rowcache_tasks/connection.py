"""Own how a process connects to the cache's Redis: time-outs, retries, names. Must not know keys or scripts."""

from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

__all__ = ["SOCKET_TIMEOUT_S", "connect"]

SOCKET_TIMEOUT_S = 5.0
"""A server that does not answer for so long counts as gone; no caller ever hangs for longer than a few of these."""


def connect(url: str, role: str) -> "redis.Redis":
    """Make a client; no connection is opened before its first command.

    `role` shows in CLIENT LIST, for the person who looks. A command that fails on a broken connection is sent again
    on a new one, twice, within a second: every script here may run twice without harm.
    """
    # A Unix socket has no peer that could vanish silently, and redis-py refuses the option for it.
    keepalive: dict[str, Any] = {} if url.startswith("unix:") else {"socket_keepalive": True}
    return redis.Redis.from_url(
        url,
        client_name=f"rowcache-{role}",
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        health_check_interval=30,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries=2),
        **keepalive,
    )
