"""Time until the first row of each table is due, read in one round trip."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import redis

__all__ = ["NextDue"]

logger = logging.getLogger(__name__)


class NextDue:
    """Reads when the first row of each schedule is due: a third of the cost of a claim."""

    def __init__(self, client: "redis.Redis", schedule_keys: Sequence[str]) -> None:
        self._client = client
        self._schedule_keys = schedule_keys

    def read(self) -> list[float]:
        """Return for each schedule the seconds until its first row is due; negative: late, inf: it has no row.

        -inf where Redis does not answer or the key is no sorted set: the claim raises the error. Raises nothing of
        Redis's.
        """
        pipeline: Any = self._client.pipeline(transaction=False)
        pipeline.time()
        for key in self._schedule_keys:
            pipeline.zrange(key, 0, 0, withscores=True)
        try:
            (seconds, microseconds), *firsts = pipeline.execute(raise_on_error=False)
        except redis.RedisError as error:
            logger.debug("next_due_lost", extra={"error": str(error)})
            return [-math.inf for _ in self._schedule_keys]
        now = seconds + microseconds / 1e6
        return [first_score(reply) - now for reply in firsts]


def first_score(reply: Any) -> float:
    """Return the score of the first member; inf: there is none, -inf: the key is no sorted set."""
    if isinstance(reply, Exception):
        return -math.inf
    return float(reply[0][1]) if reply else math.inf
