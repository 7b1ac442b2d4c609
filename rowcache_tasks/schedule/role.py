"""Connections that leave a server that is no longer the primary.

After a failover, the old primary may live on as a replica. It keeps its connections open, answers each read from data
that may be old, and refuses each write. So these errors mean a lost connection, and a connection that only reads asks
for the role now and then. docs/failover.md has the rules.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection as AbstractAsyncConnection
from redis.connection import AbstractConnection

from rowcache_tasks.errors.text import hide_logins, one_line
from rowcache_tasks.schedule.awaiting import outcome_of, run_blocking

CHECK_S = 2.0  # age of a known role after which a connection asks again; every user may send HELLO

ROLE_CODES = re.compile(r"(^|-|because of: )(READONLY|MASTERDOWN|LOADING|UNBLOCKED)\b")
"""Errors of the role, also of a script or a transaction; redis-py removes the codes that have a class."""
WRITE_CODES = re.compile(r"(^|-|because of: )(MISCONF|NOREPLICAS|CLUSTERDOWN|BUSY)\b")
"""Errors of a primary that takes no writes: its disk is full, it is cut off from replicas, or runs a long script."""

left: dict[str, float] = {}
"""Server -> when it refused as a replica, by the monotonic clock. Older connections to it are replaced before use."""


class NotPrimaryError(redis.ConnectionError):
    """The server takes no writes, so that it has done nothing: the command may be sent again, to the primary."""


class Role:
    """Role of the server of one connection."""

    needs_primary = True  # whether a replica is an error; else it is read until the address leads to the primary
    is_rechecked = True
    """Whether connect() checks the role of an open connection, which must not wait for a message then."""
    _is_replica = False
    _seen_at = 0.0

    def _server(self) -> str:
        path = getattr(self, "path", None)  # of a Unix socket
        return path or f"{getattr(self, 'host', '')}:{getattr(self, 'port', '')}"

    def _is_left(self) -> bool:
        """Whether to connect anew without a question."""
        return bool(left) and left.get(self._server(), 0.0) >= self._seen_at

    def _is_old(self) -> bool:
        return time.monotonic() - self._seen_at > CHECK_S

    async def _ask_role(self) -> bool:
        """Ask the server for its role; return whether it is a primary; one without HELLO counts as one."""
        connection: Any = super()
        await outcome_of(connection.send_command("HELLO", check_health=False))
        hello = None
        with suppress(redis.ResponseError):
            hello = await outcome_of(connection.read_response())
        self._is_replica = role_of(hello) == "replica"
        self._seen_at = time.monotonic()
        return not self._is_replica

    async def _has_role(self) -> bool:
        """Return whether the server still answers as a primary."""
        with suppress(redis.RedisError, OSError):
            return await self._ask_role()
        return False

    def _note_refusal(self, error: redis.ResponseError) -> bool:
        """Return whether an error means a lost connection.

        On a connection that only reads, the refusal of a known replica is an ordinary error.
        """
        by_role = redis.exceptions.ReadOnlyError | redis.exceptions.MasterDownError | redis.exceptions.BusyLoadingError
        if not (isinstance(error, by_role) or ROLE_CODES.search(str(error))):
            is_refused_write = isinstance(error, redis.exceptions.ClusterDownError) or WRITE_CODES.search(str(error))
            return self.needs_primary and bool(is_refused_write)
        if self._is_replica and not self.needs_primary:
            return False
        left[self._server()] = time.monotonic()
        return True

    def _moved(self, reason: object = "it is a replica") -> NotPrimaryError:
        verb = "takes no writes" if WRITE_CODES.search(str(reason)) else "is not the primary"
        return NotPrimaryError(f"the server at {self._server()} {verb}: {reason}")

    def _refusal_in(self, reply: Any) -> "redis.ResponseError | None":
        """Return the error within the reply to a transaction that means a lost connection."""
        if isinstance(reply, list):
            for item in reply:
                if isinstance(item, redis.ResponseError) and self._note_refusal(item):
                    return item
        return None


class RoleConnection(Role, AbstractConnection):
    """Base of connections of threads."""

    def connect(self) -> None:
        """Connect, unless connected to a server of the right role."""
        if self._sock is not None and self.is_rechecked:
            if not self._is_left() and (not self._is_old() or run_blocking(self._has_role())):
                return
            self.disconnect()
        super().connect()  # type: ignore[no-untyped-call]

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Log in, and ask for the role."""
        with login_errors():
            super().on_connect_check_health(check_health=check_health)
        if not run_blocking(self._ask_role()) and self.needs_primary:
            raise self._moved()

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read a reply; a refusal of a replica is the end of the connection."""
        try:
            reply = super().read_response(*args, **options)
        except redis.ResponseError as error:
            if not self._note_refusal(error):
                raise
            refusal = error
        else:
            if not self.needs_primary or (found := self._refusal_in(reply)) is None:
                return reply
            refusal = found
        self.disconnect()  # type: ignore[no-untyped-call]
        raise self._moved(refusal) from refusal


class AsyncRoleConnection(Role, AbstractAsyncConnection):
    """Base of connections of event loops."""

    async def connect(self) -> None:
        """Connect, unless connected to a server of the right role."""
        if self.is_connected:
            if not self._is_left() and (not self._is_old() or await self._has_role()):
                return
            await self.disconnect()
        await super().connect()  # type: ignore[no-untyped-call]

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Log in, and ask for the role."""
        with login_errors():
            await super().on_connect_check_health(check_health=check_health)
        if not await self._ask_role() and self.needs_primary:
            raise self._moved()

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read a reply; a refusal of a replica is the end of the connection."""
        try:
            return await super().read_response(*args, **options)
        except redis.ResponseError as error:
            if not self._note_refusal(error):
                raise
            await self.disconnect(nowait=True)
            raise self._moved(error) from error


def role_connection(kind: type, *, needs_primary: bool = True, is_rechecked: bool = True) -> Any:
    """Return a class of connections like `kind`, a class of redis-py, that leave a server of the wrong role."""
    base = AsyncRoleConnection if issubclass(kind, AbstractAsyncConnection) else RoleConnection
    return type(kind.__name__, (base, kind), {"needs_primary": needs_primary, "is_rechecked": is_rechecked})


@contextmanager
def login_errors() -> Iterator[None]:
    """Raise an error of a provider of credentials as one of the connection."""
    try:
        yield
    except (redis.RedisError, OSError):
        raise
    except Exception as error:
        reason = f"the credential_provider failed: {type(error).__name__}: {error}"
        raise redis.ConnectionError(hide_logins(one_line(reason))) from error


def role_of(hello: Any) -> str:
    """Return the role in a reply to HELLO, "master" or "replica"; "" when there is none."""
    if isinstance(hello, list):  # as in RESP2
        hello = dict(zip(hello[::2], hello[1::2], strict=False))
    found = hello.get(b"role", hello.get("role", "")) if isinstance(hello, dict) else ""
    return found.decode() if isinstance(found, bytes) else str(found)
