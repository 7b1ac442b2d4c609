"""Own how a dispatcher sleeps: until a time, or until somebody pushes to a wake list. Must not know schedules."""

import logging
import math
import time
from collections.abc import Sequence
from typing import Any

import redis

from rowcache_tasks.schedule.connection import SOCKET_TIMEOUT_S

__all__ = ["Alarm"]

logger = logging.getLogger(__name__)

BLOCK_S = 5
"""How long one BLPOP stands at the server."""

FLOOD = 100
"""Wakes in a row, with no time-out of the server between, after which the lists are shortened."""


class Alarm:
    """Sleeps with a BLPOP outstanding on a connection of its own.

    The time-out is kept here and not by the server: a server's own time-outs are checked only every 100 ms when it is
    idle, and this way an idle dispatcher sends nothing while it waits.
    """

    def __init__(self, client: "redis.Redis", wake_keys: Sequence[str]) -> None:
        self._pool = client.connection_pool
        self._wake_keys = list(wake_keys)
        self._connection: Any = None
        self._answer_by = 0.0
        self._woken = 0

    def wait(self, timeout_s: float) -> str | None:
        """Sleep for `timeout_s` seconds or until woken; return by which list. Without Redis it just sleeps."""
        if timeout_s <= 0:
            return None
        deadline = time.monotonic() + timeout_s
        try:
            if self._connection is None:
                self._connection = self._pool.get_connection()
                self._block()
            # poll() rounds up to whole milliseconds, half of one too much on average: the rest is slept, not listening.
            whole_s = math.floor(1e3 * max(0.0, deadline - time.monotonic())) / 1e3
            if not self._connection.can_read(timeout=whole_s):
                if time.monotonic() > self._answer_by:
                    raise redis.TimeoutError("no answer to BLPOP")
                time.sleep(max(0.0, deadline - time.monotonic()))
                return None
            woken = self._connection.read_response()
            self._woken = self._woken + 1 if woken else 0
            if self._woken == FLOOD:
                self._trim()
            self._block()
        except (redis.RedisError, OSError) as error:
            logger.debug("alarm_lost", extra={"error": str(error)})
            self.close()
            time.sleep(max(0.0, deadline - time.monotonic()))
            return None
        return str(woken[0], "utf-8") if woken else None

    def _trim(self) -> None:
        """Shorten the lists: a foreign client has pushed more than anybody needs to wake."""
        self._woken = 0
        for key in self._wake_keys:
            self._connection.send_command("LTRIM", key, 0, 3)
            self._connection.read_response()

    def _block(self) -> None:
        self._connection.send_command("BLPOP", *self._wake_keys, BLOCK_S)
        # The server answers at the latest when its time-out ends. No answer is a connection that is gone.
        self._answer_by = time.monotonic() + BLOCK_S + SOCKET_TIMEOUT_S

    def close(self) -> None:
        """Give the connection back, closed. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            self._pool.release(connection)
