"""Time until the first row of each table is due, read in one round trip."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.servers import by_node

logger = logging.getLogger(__name__)


class NextDue:
    """Looks for the first row of some tables: a third of the cost of a claim."""

    def __init__(self, client: "redis.Redis", tables: Sequence[Table]) -> None:
        self._client, self._tables = client, tables
        self._looks: dict[str, Look] = {}  # by the name of the server

    def read(self) -> dict[str, float]:
        """Return for the wake key of each table the seconds until its first row is due; negative: late, inf: no row.

        -inf where Redis does not answer or the key is no sorted set: the claim raises the error.
        """
        found = {table.keys.wake: -math.inf for table in self._tables}
        try:
            nodes = by_node(self._client, self._tables)
        except redis.RedisError as error:
            logger.debug("next_due_lost", extra={"error": str(error)})
            return found
        for gone in self._looks.keys() - {node.name for node, _ in nodes}:
            self._looks.pop(gone).close()
        for node, some in nodes:
            try:
                with node as server:
                    (seconds, microseconds), *firsts = self._look(node.name, server, some).ask()
            except redis.RedisError as error:
                logger.debug("next_due_lost", extra={"error": str(error)})
                continue
            now = int(seconds) + int(microseconds) / 1e6
            for table, reply in zip(some, firsts, strict=True):
                found[table.keys.wake] = -math.inf if isinstance(reply, Exception) else first_score(reply) - now
        return found

    def close(self) -> None:
        """Close the connections. Idempotent."""
        while self._looks:
            self._looks.popitem()[1].close()

    def _look(self, name: str, server: "redis.Redis", tables: list[Table]) -> "Look":
        look = self._looks.get(name)
        if look is None or look.tables != tables:
            if look is not None:
                look.close()
            look = self._looks[name] = Look(server, tables)
        return look


class Look:
    """A question to one server, on a connection that stays open. It is always the same, and so is packed once.

    An idle dispatcher does little else: the client would take three times as long.
    """

    def __init__(self, server: "redis.Redis", tables: list[Table]) -> None:
        self.tables = tables
        pool: Any = server.connection_pool
        self._pool, self._connection = pool, pool.get_connection()
        firsts = [("ZRANGE", table.keys.schedule, 0, 0, "WITHSCORES") for table in tables]
        self._packed = self._connection.pack_commands([("TIME",), *firsts])

    def ask(self) -> list[Any]:
        """Return the time and the first row of each table, or its error. Raises the errors of a lost connection."""
        try:
            return self._try()
        except redis.ConnectionError:  # closed while nothing was asked, or in a failover
            return self._try()

    def _try(self) -> list[Any]:
        self._connection.connect()  # of an open connection: asks for the role of the server now and then
        self._connection.send_packed_command(self._packed, check_health=False)  # no PING: this is one itself
        return [self._read() for _ in range(1 + len(self.tables))]

    def _read(self) -> Any:
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            return error

    def close(self) -> None:
        """Close the connection and return it to the pool."""
        self._connection.disconnect()
        self._pool.release(self._connection)


def first_score(reply: Any) -> float:
    """Return the score of the first member, which RESP3 has in a pair with it; inf: there is none."""
    if not reply:
        return math.inf
    return float(reply[0][1] if isinstance(reply[0], list) else reply[1])
