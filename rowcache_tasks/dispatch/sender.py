"""Sending of claimed batches, and release of those that cannot be sent."""

import logging
from dataclasses import replace
from typing import Protocol

import redis

from rowcache_tasks.dispatch.backpressure import Backpressure
from rowcache_tasks.schedule.arguments import MAX_ROW_ID_BYTES
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.row_id import encode_row_id
from rowcache_tasks.schedule.rows import Backoff, Schedule

logger = logging.getLogger(__name__)


class Broker(Protocol):
    """A message broker."""

    def send(self, table: str, claim: Claim) -> None:
        """Send a batch, or raise."""

    def queue_length(self) -> int:
        """Count the batches that wait for a worker."""


class Sender:
    """Sends batches of any table."""

    def __init__(self, broker: Broker, backpressure: Backpressure) -> None:
        self._broker, self._backpressure = broker, backpressure
        self._unsent: list[tuple[Schedule, Claim]] = []

    def send(self, schedule: Schedule, claim: Claim, asked_at: float) -> Claim:
        """Send a batch; if that fails, release its rows at once. Return the claim, without row ids that are too long.

        A message that arrived all the same does no harm. If the process dies before the send, the rows wait one lease.
        """
        if any(map(is_too_long, claim.row_ids)):
            claim = fail_too_long(schedule, claim)
        try:
            if claim.row_ids:
                self._backpressure.check_send(asked_at)
                self._broker.send(schedule.table.name, claim)
        except BaseException:
            self._release(schedule, claim)
            raise
        self._backpressure.note_sent(claim, asked_at)
        logger.debug("dispatched", extra={"table": schedule.table.name, "rows": len(claim.row_ids)})
        return claim

    def _release(self, schedule: Schedule, claim: Claim) -> None:
        """Make the rows of an unsent batch due at once. While Redis is away, keep the batch for the next pass."""
        try:
            schedule.release_rows(claim, dict.fromkeys(claim.row_ids, ""), Backoff())
            self._backpressure.note_unsent(claim)
        except (redis.ConnectionError, redis.TimeoutError):
            self._unsent.append((schedule, claim))
            raise

    def release_unsent(self) -> None:
        """Release the batches that could not be released while Redis was away. Raises the errors of redis-py."""
        while self._unsent:
            self._release(*self._unsent.pop())


def is_too_long(row_id: str) -> bool:
    """Return whether a row id is longer than this package allows: another program may schedule any."""
    return len(row_id) > MAX_ROW_ID_BYTES // 4 and len(encode_row_id(row_id)) > MAX_ROW_ID_BYTES


def fail_too_long(schedule: Schedule, claim: Claim) -> Claim:
    """Record rows whose ids would make huge messages as failures; return the claim of the others."""
    reasons = {
        row_id: f"row id of {len(encode_row_id(row_id)):,} bytes: allowed are {MAX_ROW_ID_BYTES:,}"
        for row_id in claim.row_ids
        if is_too_long(row_id)
    }
    schedule.release_rows(claim, reasons, Backoff())
    return replace(claim, row_ids=[row_id for row_id in claim.row_ids if row_id not in reasons])
