"""Own the list of batches that were sent and that no worker has started yet. Must not know Celery or rows.

It keeps a row out of two batches in the queue at once. As long as the oldest batch on the list was claimed less than
half a lease ago, no lease of a batch in the queue has ended. Beyond that dispatchers claim nothing until a worker
starts that batch, or the queue at the broker turns out to be empty: then what is on the list was lost with the broker,
or is with a worker that has fetched it. Batches that have expired are forgotten too.

Two dispatchers do not send in the order of their claims. Only a batch that was claimed SEND_SHARE of a lease before
another one lies before it in the queue, since a dispatcher that takes longer does not send, or notes the batch again.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from rowcache_tasks.keys import QUEUED_BATCHES
from rowcache_tasks.schedule.rows import Claim

__all__ = ["EXPIRY_SLACK_S", "SEND_SHARE", "Backlog"]

logger = logging.getLogger(__name__)

EXPIRY_SLACK_S = 60
"""A batch is thrown away unread so long after the end of its lease.

Celery compares the clocks of two machines there: apart by more than a lease and this, each batch would be.
"""

SEND_SHARE = 0.25
"""Of its lease: a batch that was not sent so long after its claim is late. Less than the half that is waited for."""

LOST = (redis.ConnectionError, redis.TimeoutError)


class Backlog:
    """The batches in the queue, as far as the cache's Redis knows; a claim puts a batch on the list."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client

    def start(self, claim: Claim) -> None:
        """Note that a worker has taken this batch out of the queue, and so every batch that was sent before it."""
        with unless_of_another_type():
            pipeline: Any = self._client.pipeline(transaction=False)
            for command in start_commands(claim):
                pipeline.execute_command(*command)
            pipeline.execute()

    @contextmanager
    def starting(self, claim: Claim) -> Iterator[None]:
        """Do the same for a batch that is refreshed within the with-block, which does not wait for the answer."""
        commands, pool = start_commands(claim), self._client.connection_pool
        connection: Any = pool.get_connection()
        try:
            try:
                connection.send_packed_command(connection.pack_commands(commands))
            except LOST:
                self.start(claim)
                commands = []
            try:
                yield
            finally:
                self._hear(connection, claim, len(commands))
        finally:
            pool.release(connection)

    def _hear(self, connection: Any, claim: Claim, answers: int) -> None:
        """Read the answers to `starting`. Raises nothing when Redis is away: the batch leaves the list in time."""
        try:
            for _ in range(answers):
                with unless_of_another_type():
                    connection.read_response()
        except LOST:
            connection.disconnect()
            try:
                self.start(claim)
            except LOST as error:
                logger.warning("the start of a batch could not be noted: %s", error)

    def note_again(self, claim: Claim) -> None:
        """Put a batch that was sent late on the list, since it may have been forgotten before it was in the queue.

        When a worker has started it already, it stays there until the queue is empty: claims may pause until then.
        """
        with unless_of_another_type():
            self._client.zadd(QUEUED_BATCHES, {claim.claimed_at: float(claim.claimed_at)})

    def cancel(self, claim: Claim) -> None:
        """Take a batch off the list that was not sent."""
        with unless_of_another_type():
            self._client.zrem(QUEUED_BATCHES, claim.claimed_at)

    def now(self) -> float:
        """Read the clock by which batches are claimed; Unix seconds."""
        seconds, microseconds = self._client.time()
        return int(seconds) + int(microseconds) / 1e6

    def forget(self, until: float) -> int:
        """Take batches claimed until then off the list, which cannot be in the queue. Returns how many there were."""
        forgotten: Any = self._client.zremrangebyscore(QUEUED_BATCHES, "-inf", until)
        return int(forgotten)


def start_commands(claim: Claim) -> list[tuple[Any, ...]]:
    """Give the commands that take a batch off the list, with those that lay before it in the queue."""
    claimed_at = float(claim.claimed_at)
    sent_before = claimed_at - SEND_SHARE * (float(claim.lease_until) - claimed_at)
    return [
        ("ZREM", QUEUED_BATCHES, claim.claimed_at),
        ("ZREMRANGEBYSCORE", QUEUED_BATCHES, "-inf", f"({sent_before!r}"),
    ]


@contextmanager
def unless_of_another_type() -> Iterator[None]:
    """Log that the list is another program's key: no reason not to refresh rows."""
    try:
        yield
    except redis.ResponseError as error:
        logger.warning("%s is not usable: %s", QUEUED_BATCHES, error)
