"""Own the look at what is due next, in all tables at once: what a dispatcher does while it has nothing to do.

It is one round trip of cheap commands, at a third of the cost of a claim. Must not know rows: it only sees that there
are some.
"""

import logging
import math
from collections.abc import Sequence
from typing import Any

import redis

__all__ = ["Lookout"]

logger = logging.getLogger(__name__)


class Lookout:
    """Sees when the first row of each schedule is due; on a connection of its own, since taking one costs as much."""

    def __init__(self, client: "redis.Redis", schedule_keys: Sequence[str]) -> None:
        self._pool = client.connection_pool
        self._commands = [("TIME",), *(("ZRANGE", key, 0, 0, "WITHSCORES") for key in schedule_keys)]
        self._connection: Any = None

    def look(self) -> list[float]:
        """Give for each schedule the seconds until its first row is due, negative when it is late; inf: it has none.

        Where it cannot be told, that is -inf: the claim will say why. Raises nothing of Redis's.
        """
        try:
            if self._connection is None:
                self._connection = self._pool.get_connection()
            self._connection.send_packed_command(self._connection.pack_commands(self._commands))
            seconds, microseconds = self._connection.read_response()
            now = int(seconds) + int(microseconds) / 1e6
            return [self._first_score() - now for _ in self._commands[1:]]
        except (redis.RedisError, OSError) as error:
            logger.debug("lookout_lost", extra={"error": str(error)})
            self.close()
            return [-math.inf for _ in self._commands[1:]]

    def _first_score(self) -> float:
        try:
            first = self._connection.read_response()
        except redis.ResponseError:
            return -math.inf
        if not first:
            return math.inf
        # One pair, or what is in it: RESP3 and RESP2 differ.
        return float(first[1] if len(first) == 2 else first[0][1])

    def close(self) -> None:
        """Give the connection back, closed: half an answer may be in it. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            self._pool.release(connection)
