"""Claims of many parts of a table at once, sent in one message."""

import json
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

import redis

from rowcache_tasks.dispatch.backpressure import Limits, Pressures
from rowcache_tasks.dispatch.sender import Sender
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.node import NodeAwayError
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.servers import open_exchange

LEAST_ROWS = 32  # first limit of a claim of one of many parts: a call for fewer rows costs as much
PARTS = 32
"""Parts in one message: as many rows as a batch has at most, or twice as many. Fewer when the limit is higher."""


class Claimed(NamedTuple):
    """Outcome of the claim of one part."""

    schedule: Schedule
    claim: Claim | None  # None: it was refused, or failed
    due_at: float
    """Due time of the next row, of the monotonic clock; inf: nothing is scheduled, or the table is paused."""
    error: Exception | None = None
    limit: int = 0  # rows that were asked for; 0: a batch


def claim_parts(
    client: "redis.Redis", schedules: Sequence[Schedule], limit: int, limits: Limits, note: str = ""
) -> list[Claimed]:
    """Claim up to `limit` rows of each part: all calls are sent before the first reply is read.

    Raises the error of the connection when no server can be reached.
    """
    calls = [
        schedule.claim_call(limit, limits.lease_s, note=note, least_s=limits.least_lease_s) for schedule in schedules
    ]
    with open_exchange(client) as exchange:
        with exchange.held():
            replies = [exchange.send([call.command]) for call in calls]
        exchange.read()
    now = time.monotonic()
    found = zip(schedules, replies, strict=True)
    return [outcome_of(schedule, reply, now)._replace(limit=limit) for schedule, reply in found]


def outcome_of(schedule: Schedule, replies: Sequence[object], now: float) -> Claimed:
    """Read the reply to a claim; none, when its server is away."""
    reply = replies[0] if replies else NodeAwayError("its server is away")
    if isinstance(reply, redis.RedisError):
        return Claimed(schedule, None, now, reply)
    claim, next_due = schedule.read_claim(reply)
    if claim is None or next_due is None:
        return Claimed(schedule, claim, math.inf)
    return Claimed(schedule, claim, now + next_due - float(claim.claimed_at))


def limit_of(limits: Limits, parts: int) -> int:
    """Return the limit of a claim of one of so many parts."""
    return limits.batch_size if parts == 1 else max(limits.batch_size // parts, LEAST_ROWS)


def by_table(schedules: Sequence[Schedule]) -> list[list[Schedule]]:
    """Group the parts of each table, which stand together."""
    return [[*some] for _, some in groupby(schedules, lambda schedule: schedule.table.name)]


class PartsDispatch:
    """Claims rows of many parts of a table, and sends them: one message for up to PARTS of them."""

    def __init__(
        self,
        client: "redis.Redis",
        sender: Sender,
        pressures: Pressures,
        limits: Limits,
        deferral: AbstractContextManager[object],
        facts: Mapping[str, object],
    ) -> None:
        self._client, self._sender, self._pressures = client, sender, pressures
        self._limits, self._deferral, self._facts = limits, deferral, facts
        self._limit_of: dict[str, int] = {}
        """Table -> the limit of its next claims, beyond the first: while most are full, four times the last."""

    def dispatch(self, schedules: Sequence[Schedule]) -> list[Claimed]:
        """Claim and send rows of parts of one table. Raises the errors of the send."""
        least, table = limit_of(self._limits, len(schedules)), schedules[0].table.name
        limit = max(least, self._limit_of.get(table, 0))
        parts_at_once = max(1, PARTS * LEAST_ROWS // max(limit, LEAST_ROWS))
        claimed = [each for parts in cut(schedules, parts_at_once) for each in self._send(parts, limit)]
        full = sum(len(each.claim.row_ids) >= limit for each in claimed if each.claim)
        self._limit_of[table] = min(4 * limit, self._limits.batch_size) if 2 * full > len(claimed) else 0
        for schedule, claim, *_ in claimed:
            if claim:
                self._pressures.of(schedule).note_claim(claim)
        return claimed

    def _send(self, schedules: Sequence[Schedule], limit: int) -> list[Claimed]:
        with self._deferral:
            asked_at, task_id = time.monotonic(), str(uuid.uuid4())
            note = json.dumps({**self._facts, "task": task_id})
            claimed = claim_parts(self._client, schedules, limit, self._limits, note)
            found = [(each.schedule, each.claim) for each in claimed if each.claim and each.claim.row_ids]
            batches = [(schedule, replace(claim, task_id=task_id)) for schedule, claim in found]
            if batches:
                self._sender.send(batches, asked_at)
        return claimed
