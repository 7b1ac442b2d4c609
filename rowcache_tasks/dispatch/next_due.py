"""Time until the first row of each table is due, read in one round trip."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.servers import by_node

logger = logging.getLogger(__name__)


def read_next_due(client: "redis.Redis", tables: Sequence[Table]) -> dict[str, float]:
    """Return for the wake key of each table the seconds until its first row is due; negative: late, inf: it has no row.

    A third of the cost of a claim. -inf where Redis does not answer or the key is no sorted set: the claim raises the
    error.
    """
    found = {table.keys.wake: -math.inf for table in tables}
    try:
        nodes = by_node(client, tables)
    except redis.RedisError as error:
        logger.debug("next_due_lost", extra={"error": str(error)})
        return found
    for node, some in nodes:
        try:
            with node as server:
                pipeline: Any = server.pipeline(transaction=False)
                pipeline.time()
                for table in some:
                    pipeline.zrange(table.keys.schedule, 0, 0, withscores=True)
                (seconds, microseconds), *firsts = pipeline.execute(raise_on_error=False)
        except redis.RedisError as error:
            logger.debug("next_due_lost", extra={"error": str(error)})
            continue
        now = seconds + microseconds / 1e6
        for table, reply in zip(some, firsts, strict=True):
            found[table.keys.wake] = -math.inf if isinstance(reply, Exception) else first_score(reply) - now
    return found


def first_score(reply: Any) -> float:
    """Return the score of the first member; inf: there is none."""
    return float(reply[0][1]) if reply else math.inf
