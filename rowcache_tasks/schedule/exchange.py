"""Commands sent to Redis on one connection; their replies are read later."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import redis

from rowcache_tasks.schedule.cut import CALL_BYTES
from rowcache_tasks.schedule.role import NotPrimaryError
from rowcache_tasks.schedule.script import Command, send_all, send_texts

TOO_LARGE = (
    "the connection is lost at a value of {:,} bytes, which is too large for the server (proto-max-bulk-len): {}"
)


class Exchange:
    """Commands whose replies arrive while the process does something else, such as a SELECT.

    A command without a reply may have been run or not: `read` sends it again, as the client does with its retries.
    """

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._connection: Any = None
        self._is_lost = self._is_held = False
        self._unread: list[tuple[Command, list[Any]]] = []
        self._unsent: list[Command] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Return the connection to the pool; close it when a reply is still on its way."""
        if self._unread:
            self._lose()
        if self._connection is not None:
            self._client.connection_pool.release(self._connection)
            self._connection = None

    def node(self, key: object) -> str:
        """Return the name of the server of a key; of one server ""."""
        del key
        return ""

    def send(self, commands: Sequence[Command], key: object = None) -> list[Any]:
        """Send commands; return the list that `read` fills with their replies. Raises nothing of a lost connection.

        `key` names the server if there are several: without it, the first key among the commands does.
        """
        del key
        replies: list[Any] = []
        self._unread += [(command, replies) for command in commands]
        self._unsent += commands
        if not self._is_held:
            self._flush()
        return replies

    @contextmanager
    def held(self) -> Iterator[None]:
        """Send the commands of the block at its end, in one piece for each server unless they are large.

        If the block raises, none of them is sent.
        """
        self._is_held = True
        try:
            yield
        except BaseException:
            self._drop()
            raise
        finally:
            self._is_held = False
        self._flush()

    def _drop(self) -> None:
        """Forget what is held back."""
        del self._unread[len(self._unread) - len(self._unsent) :]
        self._unsent = []

    def _flush(self) -> None:
        """Send what is held back."""
        commands, self._unsent = self._unsent, []
        if self._is_lost or not commands:
            return
        is_idle = len(self._unread) == len(commands)  # a health check would take the next reply for its own
        try:
            if self._connection is None:
                self._connection = self._client.connection_pool.get_connection()
            pieces = self._connection.pack_commands(commands)  # of redis-py: a few commands, or one long value
            if sum(map(len, pieces)) <= CALL_BYTES:  # more would all have to be sent within one time-out
                pieces = [b"".join(pieces)]
            self._connection.send_packed_command(pieces, check_health=is_idle)
        except (redis.ConnectionError, redis.TimeoutError):
            self._lose()

    def read(self) -> None:
        """Read all replies; an error of the server takes the place of its reply. Raises the connection's errors."""
        self._flush()
        unread = self._unread
        found = self._receive(len(unread))
        self._unread = []
        found += send_again(self._client, [command for command, _ in unread[len(found) :]])
        self._mend([command for command, _ in unread], found)
        for (_, replies), reply in zip(unread, found, strict=True):
            replies.append(reply)

    def _mend(self, commands: Sequence[Command], replies: list[Any]) -> None:
        """Send commands again that were not run, and replace their replies."""
        send_texts(self._client, commands, replies)

    def _receive(self, count: int) -> list[Any]:
        """Read up to `count` replies, as many as arrive before the connection is lost."""
        found: list[Any] = []
        try:
            while len(found) < count and not self._is_lost:
                try:
                    found.append(self._connection.read_response())
                except redis.ResponseError as error:
                    found.append(error)
        except (redis.ConnectionError, redis.TimeoutError):
            self._lose()
        return found

    def _lose(self) -> None:
        self._is_lost = True
        if self._connection is not None:
            self._connection.disconnect()


def send_again(client: "redis.Redis", commands: Sequence[Command]) -> list[Any]:
    """Send commands whose replies were lost; return the replies. Raises the connection's errors.

    A server, or a proxy before it, closes the connection at a command that is too large for it. So large commands are
    sent last and one by one; one that loses its connection while the server answers others has an error as its reply.
    """
    is_large = [size_of(command) > CALL_BYTES for command in commands]
    others = iter(send_all(client, [one for one, large in zip(commands, is_large, strict=True) if not large]))
    return [send_large(client, one) if large else next(others) for one, large in zip(commands, is_large, strict=True)]


def send_large(client: "redis.Redis", command: Command) -> Any:
    """Send a large command; return the reply. Raises the error of the connection if the server is away."""
    try:
        return send_all(client, [command])[0]
    except redis.ConnectionError as error:  # not a time-out: a slow server takes it
        if isinstance(error, NotPrimaryError):
            raise
        client.ping()
        return redis.ResponseError(TOO_LARGE.format(size_of(command), error))


def size_of(command: Command) -> int:
    """Return the length of the longest argument of a command."""
    return max(len(part) for part in command if isinstance(part, str | bytes))
