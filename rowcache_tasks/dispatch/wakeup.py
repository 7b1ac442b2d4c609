"""Sleep of a dispatcher, ended by a time or by a push to a wake list."""

import logging
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import redis
from redis.exceptions import MovedError

from rowcache_tasks.schedule.connection import SOCKET_TIMEOUT_S
from rowcache_tasks.schedule.node import NodeAwayError
from rowcache_tasks.schedule.servers import Servers, node_of

logger = logging.getLogger(__name__)

BLOCK_S = 5  # Time-out of one BLPOP at the server

FLOOD = 100  # wakes in a row, without a time-out of the server in between, after which the lists are trimmed


class Wakeup:
    """Sleeps while a BLPOP waits at the server, on a connection of its own.

    The time-out of a sleep is kept here: an idle server checks its own time-outs every 100 ms only.
    """

    def __init__(self, client: "redis.Redis", wake_keys: Sequence[str]) -> None:
        self._client = client
        self._pool: Any = None
        self._wake_keys = list(wake_keys)
        self._connection: Any = None
        self._reply_by = 0.0
        self._wakes = 0

    def wait(self, timeout_s: float) -> str | None:
        """Sleep for `timeout_s` seconds or until woken; return the key of the wake list. Without Redis, just sleep."""
        if timeout_s <= 0:
            return None
        deadline = time.monotonic() + timeout_s
        try:
            if self._connection is None:
                with node_of(self._client, self._wake_keys[0]) as server:
                    self._pool = server.connection_pool
                    self._connection = self._pool.get_connection()
                self._block()
            # poll() rounds up to whole milliseconds, half of one on average: the rest is slept without listening.
            whole_s = math.floor(1e3 * max(0.0, deadline - time.monotonic())) / 1e3
            if not self._connection.can_read(timeout=whole_s):
                if time.monotonic() > self._reply_by:
                    raise redis.TimeoutError("no reply to BLPOP")
                time.sleep(max(0.0, deadline - time.monotonic()))
                return None
            woken = self._connection.read_response()
            self._wakes = self._wakes + 1 if woken else 0
            if self._wakes == FLOOD:
                self._trim()
            self._block()
        except (redis.RedisError, OSError) as error:
            logger.debug("wakeup_lost", extra={"error": str(error)})
            self.close()
            if isinstance(error, MovedError) and isinstance(self._client, Servers):
                with suppress(NodeAwayError):
                    self._client.note_moved(error, node_of(self._client, self._wake_keys[0]))
            time.sleep(max(0.0, deadline - time.monotonic()))
            return None
        return str(woken[0], "utf-8") if woken else None

    def _trim(self) -> None:
        """Shorten the lists: another program has pushed more than any dispatcher needs."""
        self._wakes = 0
        for key in self._wake_keys:
            self._connection.send_command("LTRIM", key, 0, 3)
            self._connection.read_response()

    def _block(self) -> None:
        self._connection.send_command("BLPOP", *self._wake_keys, BLOCK_S)
        # The server replies when its time-out ends at the latest. No reply: the connection is gone.
        self._reply_by = time.monotonic() + BLOCK_S + SOCKET_TIMEOUT_S

    def close(self) -> None:
        """Close the connection and return it to the pool. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            self._pool.release(connection)
