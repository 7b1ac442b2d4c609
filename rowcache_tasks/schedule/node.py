"""One of several servers, and the key by which a command finds it."""

import time
from collections.abc import Sequence
from typing import Any

import redis
from redis.exceptions import AskError, MovedError, TryAgainError

SCRIPTS = {"EVALSHA", "EVAL"}
KEYLESS = {
    *("TIME", "PING", "INFO", "CLIENT", "CONFIG", "SCRIPT", "CLUSTER", "ECHO", "ACL", "HELLO", "SCAN", "MEMORY"),
    "WAIT",
}
KEYED = {"GET", "MGET", "ZMSCORE", "EXISTS"}
UNASKED_S = 5.0  # after so long without a command for a node that is away, the next one goes to it


class NodeAwayError(redis.ConnectionError):
    """One of several servers does not answer; the others may."""


class Node:
    """One server. As a context: yields its client; an error of the connection within means that it is away."""

    def __init__(self, name: str, client: Any, servers: Any = None) -> None:
        self.name = name
        self.client = client
        self.away = ""  # why it is away; empty: it is not
        self._servers = servers
        self._wanted_at = 0.0

    def __enter__(self) -> Any:
        """Return the client. Raises NodeAwayError."""
        if self.away and self._servers is not None:
            if (now := time.monotonic()) < self._wanted_at + UNASKED_S:
                self._wanted_at = now
                self._servers.check_later()
                raise NodeAwayError(f"{self.name} is away: {self.away}")
            self.away = ""
        return self.client

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if self._servers is None:
            return
        if isinstance(error, MovedError):
            self._servers.note_moved(error, self)
        if isinstance(error, NodeAwayError) or is_pool_exhausted(error):
            return  # nothing new of the node
        if isinstance(error, redis.ConnectionError | redis.TimeoutError):
            self._wanted_at, self.away = time.monotonic(), str(error) or type(error).__name__
            self._servers.check_later()
            raise NodeAwayError(f"{self.name} is away: {error}") from error


class NoNode(Node):
    """Place of the slots that no node serves."""

    def __enter__(self) -> Any:
        """Raise NodeAwayError."""
        raise NodeAwayError(self.away)


def is_pool_exhausted(error: BaseException | None) -> bool:
    """Whether the pool of this process has no connection left; the server may be well."""
    return isinstance(error, redis.exceptions.MaxConnectionsError) or str(error) == "No connection available."


def key_of(command: Sequence[Any]) -> Any:
    """Return the first key of a command; None: it has none."""
    name = command[0]
    if name in KEYED:  # most commands
        return command[1]
    name = str(name).upper()
    if name in SCRIPTS:
        return command[3] if int(command[2]) else None
    return None if name in KEYLESS or len(command) == 1 else command[1]


def keys_of(commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the key of each command; of one without a key, that of the command before it, or else after it."""
    found = [key_of(command) for command in commands]
    for place in range(1, len(found)):
        found[place] = found[place] or found[place - 1]
    for place in reversed(range(len(found) - 1)):
        found[place] = found[place] or found[place + 1]
    return found


def is_moving(reply: Any) -> bool:
    """Whether a command was not run since its slot has moved, or is being moved."""
    return isinstance(reply, AskError | TryAgainError) or (
        isinstance(reply, redis.ResponseError) and "non local key" in str(reply)
    )
