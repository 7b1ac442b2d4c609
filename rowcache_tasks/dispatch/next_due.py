"""Time until the first row of each table is due, read in one round trip."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import redis

logger = logging.getLogger(__name__)


def read_next_due(client: "redis.Redis", schedule_keys: Sequence[str]) -> list[float]:
    """Return for each schedule the seconds until its first row is due; negative: late, inf: it has no row.

    A third of the cost of a claim. -inf where Redis does not answer or the key is no sorted set: the claim raises the
    error.
    """
    pipeline: Any = client.pipeline(transaction=False)
    pipeline.time()
    for key in schedule_keys:
        pipeline.zrange(key, 0, 0, withscores=True)
    try:
        (seconds, microseconds), *firsts = pipeline.execute(raise_on_error=False)
    except redis.RedisError as error:
        logger.debug("next_due_lost", extra={"error": str(error)})
        return [-math.inf for _ in schedule_keys]
    now = seconds + microseconds / 1e6
    return [-math.inf if isinstance(reply, Exception) else first_score(reply) - now for reply in firsts]


def first_score(reply: Any) -> float:
    """Return the score of the first member; inf: there is none."""
    return float(reply[0][1]) if reply else math.inf
