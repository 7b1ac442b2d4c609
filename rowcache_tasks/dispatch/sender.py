"""Sending of claimed batches, and release of those that cannot be sent."""

import logging
from collections.abc import Sequence
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

    def send(self, table: str, claims: Sequence[Claim]) -> None:
        """Send one message with up to MAX_SHARED claims, or raise."""

    def queue_length(self) -> int:
        """Count the messages that wait for a worker."""


class Sender:
    """Sends batches of any table."""

    def __init__(self, broker: Broker, backpressure: Backpressure) -> None:
        self._broker, self._backpressure = broker, backpressure
        self._unsent: list[tuple[Schedule, Claim]] = []

    def send(self, schedule: Schedule, claims: Sequence[Claim], asked_at: float) -> list[Claim]:
        """Send claims in one message; if that fails, release their rows at once. Return them without too long row ids.

        A message that arrived all the same does no harm. If the process dies before the send, the rows wait one lease.
        """
        kept = [fail_too_long(schedule, claim) for claim in claims]
        sent = [claim for claim in kept if claim.row_ids]
        try:
            if sent:
                self._backpressure.check_send(asked_at)
                self._broker.send(schedule.table.name, sent)
        except BaseException:
            self._unsent.extend((schedule, claim) for claim in kept)
            self.release_unsent()
            raise
        for claim in kept:
            self._backpressure.note_sent(claim, asked_at)
        logger.debug(
            "dispatched", extra={"table": schedule.table.name, "rows": sum(len(each.row_ids) for each in sent)}
        )
        return kept

    def release_unsent(self) -> None:
        """Make the rows of unsent batches due at once, except while Redis is away. Raises the errors of redis-py."""
        while self._unsent:
            schedule, claim = self._unsent.pop()
            try:
                schedule.release_rows(claim, dict.fromkeys(claim.row_ids, ""), Backoff())
                self._backpressure.note_unsent(claim)
            except (redis.ConnectionError, redis.TimeoutError):
                self._unsent.append((schedule, claim))
                raise


def is_too_long(row_id: str) -> bool:
    """Return whether a row id is longer than this package allows: another program may schedule any."""
    return len(row_id) > MAX_ROW_ID_BYTES // 4 and len(encode_row_id(row_id)) > MAX_ROW_ID_BYTES


def fail_too_long(schedule: Schedule, claim: Claim) -> Claim:
    """Record rows whose ids would make huge messages as failures; return the claim of the others."""
    if not any(map(is_too_long, claim.row_ids)):
        return claim
    reasons = {
        row_id: f"row id of {len(encode_row_id(row_id)):,} bytes: allowed are {MAX_ROW_ID_BYTES:,}"
        for row_id in claim.row_ids
        if is_too_long(row_id)
    }
    schedule.release_rows(claim, reasons, Backoff())
    return replace(claim, row_ids=[row_id for row_id in claim.row_ids if row_id not in reasons])
