"""List in Redis of the batches that were sent and not started yet."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import redis

from rowcache_tasks.schedule.claim import Claim

logger = logging.getLogger(__name__)

EXPIRY_SLACK_S = 60
"""A batch expires so long after its lease, by the clock of Redis: its rows are due again anyway."""

SEND_SHARE = 0.25
"""Share of its lease within which a batch is sent. Less than the half lease after which claims pause."""


class SentBatches:
    """Sorted set of the claim times of batches. A claim adds a batch; the worker that starts the batch removes it.

    Dispatchers do not send in the order of their claims. A batch that was claimed SEND_SHARE of a lease before another
    one lies before it in the queue: a dispatcher that takes longer does not send, or adds the batch again.
    """

    def __init__(self, client: "redis.Redis", key: str) -> None:
        self._client = client
        self._key = key

    def start(self, claims: Sequence[Claim]) -> list[Claim]:
        """Remove the batches of a message that a worker starts, and those before it in the queue.

        Return those that have not expired. Raises nothing of Redis's.
        """
        first = claims[0]
        claimed_at = float(first.claimed_at)
        sent_before = claimed_at - SEND_SHARE * (float(first.lease_until) - claimed_at)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.time()
        pipeline.zrem(self._key, *(claim.claimed_at for claim in claims))
        pipeline.zremrangebyscore(self._key, "-inf", f"({sent_before!r}")
        try:
            (seconds, _), *_ = pipeline.execute()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            logger.debug("start_lost", extra={"error": str(error)})  # the commit raises the error if it lasts
            return list(claims)
        except redis.RedisError as error:
            logger.warning("the start of a batch could not be noted in %s: %s", self._key, error)
            return list(claims)
        return [claim for claim in claims if int(seconds) <= float(claim.lease_until) + EXPIRY_SLACK_S]

    def add(self, claim: Claim) -> None:
        """Add a batch again that was sent late: it may have been forgotten before it was in the queue.

        A batch that has been started meanwhile stays on the list until the queue is empty: claims may pause until then.
        """
        with self._ignore_foreign_key():
            self._client.zadd(self._key, {claim.claimed_at: float(claim.claimed_at)})

    def remove(self, claim: Claim) -> None:
        """Remove a batch that was not sent."""
        with self._ignore_foreign_key():
            self._client.zrem(self._key, claim.claimed_at)

    def forget(self, until: float) -> None:
        """Remove the batches claimed up to a time in Unix seconds."""
        self._client.zremrangebyscore(self._key, "-inf", until)

    def now(self) -> float:
        """Return the time of the clock by which batches are claimed; Unix seconds."""
        seconds, microseconds = self._client.time()
        return int(seconds) + int(microseconds) / 1e6

    @contextmanager
    def _ignore_foreign_key(self) -> Iterator[None]:
        """Log that the key holds another type, made by another program: no reason not to refresh rows."""
        try:
            yield
        except redis.ResponseError as error:
            logger.warning("%s is not usable: %s", self._key, error)
