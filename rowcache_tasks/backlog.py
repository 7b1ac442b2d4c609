"""Own the list of batches that were sent and that no worker has started yet. Must not know Celery or rows.

It keeps a row out of two batches in the queue at once. The queue is first in, first out: as long as the oldest batch
on the list was claimed less than half a lease ago, no lease of a batch in the queue has ended. Beyond that
dispatchers claim nothing until a worker starts a batch, or the queue at the broker turns out to be empty: then what is
on the list was lost with the broker, or with a worker that had fetched it. Batches that have expired are forgotten too.
"""

import logging
from typing import Any

import redis

from rowcache_tasks.keys import QUEUED_BATCHES
from rowcache_tasks.schedule import Claim

__all__ = ["EXPIRY_SLACK_S", "Backlog"]

logger = logging.getLogger(__name__)

EXPIRY_SLACK_S = 60
"""A batch is thrown away unread so long after the end of its lease.

Celery compares the clocks of two machines there: apart by more than a lease and this, each batch would be.
"""


class Backlog:
    """The batches in the queue, as far as the cache's Redis knows; a claim puts a batch on the list."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client

    def start(self, claim: Claim) -> None:
        """Note that a worker has taken this batch out of the queue, and so every batch that was sent before it."""
        try:
            self._client.zremrangebyscore(QUEUED_BATCHES, "-inf", claim.claimed_at)
        except redis.ResponseError as error:  # another program's key: no reason not to refresh the rows
            logger.warning("%s is not usable: %s", QUEUED_BATCHES, error)

    def forget(self, min_age_s: float) -> int:
        """Take batches older than this off the list, which cannot be in the queue. Returns how many there were."""
        seconds, microseconds = self._client.time()
        oldest = int(seconds) + int(microseconds) / 1e6 - min_age_s
        forgotten: Any = self._client.zremrangebyscore(QUEUED_BATCHES, "-inf", oldest)
        return int(forgotten)
