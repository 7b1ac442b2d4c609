"""Sending of claimed batches, and release of those that cannot be sent."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import redis

from rowcache_tasks.dispatch.backpressure import Backpressure
from rowcache_tasks.schedule.arguments import MAX_ROW_ID_BYTES
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.node import NodeAwayError
from rowcache_tasks.schedule.row_id import encode_row_id
from rowcache_tasks.schedule.row_state import Backoff
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.trace import sending

logger = logging.getLogger(__name__)

Batch = tuple[Schedule, Claim]  # a claim, and the schedule of its part


class Broker(Protocol):
    """A message broker."""

    def send(self, table: str, claims: Sequence[Claim]) -> None:
        """Send one message with up to MAX_SHARED claims, or raise."""

    def queue_length(self) -> int:
        """Count the messages that wait for a worker."""


class Sender:
    """Sends batches of any table."""

    def __init__(self, broker: Broker, pressures: Mapping[str, Backpressure]) -> None:
        self._broker, self._pressures = broker, pressures
        self._unsent: list[Batch] = []

    def send(self, batches: Sequence[Batch], asked_at: float) -> list[Claim]:
        """Send claims of one table in one message; if that fails, release their rows at once.

        Return them without too long row ids. A message that arrived all the same does no harm. If the process dies
        before the send, the rows wait one lease.
        """
        kept = [(schedule, fail_too_long(schedule, claim)) for schedule, claim in batches]
        sent = [claim for _, claim in kept if claim.row_ids]
        name = kept[0][0].table.name
        try:
            if sent:
                self._pressure(kept[0][0]).check_send(asked_at)
                with sending(kept[0][0], sent, asked_at):
                    self._broker.send(name, sent)
        except BaseException:
            self.give_back(kept)
            raise
        for schedule, claim in kept:
            self._pressure(schedule).note_sent(claim, asked_at)
        logger.debug("dispatched", extra={"table": name, "rows": sum(len(each.row_ids) for each in sent)})
        return [claim for _, claim in kept]

    def give_back(self, batches: Sequence[Batch]) -> None:
        """Release the rows of batches that are not sent. Raises the errors of redis-py."""
        self._unsent.extend(batches)
        self.release_unsent()

    def _pressure(self, schedule: Schedule) -> Backpressure:
        return self._pressures[schedule.table.keys.queue]

    def release_unsent(self) -> None:
        """Make the rows of unsent batches due at once, except while Redis is away. Raises the errors of redis-py.

        Of several servers, rows of one that is away are left to their lease.
        """
        while self._unsent:
            schedule, claim = self._unsent.pop()
            try:
                schedule.release_rows(claim, dict.fromkeys(claim.row_ids, ""), Backoff())
                self._pressure(schedule).note_unsent(claim)
            except NodeAwayError:
                continue
            except (redis.ConnectionError, redis.TimeoutError):
                self._unsent.append((schedule, claim))
                raise


def fail_too_long(schedule: Schedule, claim: Claim) -> Claim:
    """Record rows with too long ids, which another program may schedule, as failures; return the others."""
    if max(map(len, claim.row_ids), default=0) <= MAX_ROW_ID_BYTES // 4:
        return claim
    reasons = {
        row_id: f"row id of {size:,} bytes: allowed are {MAX_ROW_ID_BYTES:,}"
        for row_id in claim.row_ids
        if (size := len(encode_row_id(row_id))) > MAX_ROW_ID_BYTES
    }
    schedule.release_rows(claim, reasons, Backoff())
    return replace(claim, row_ids=[row_id for row_id in claim.row_ids if row_id not in reasons])
