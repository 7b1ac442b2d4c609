"""The dispatch loop: claim a batch of each table, send it, sleep until the next row is due.

    wait ──▶ rows due? ──▶ queue full? ──▶ claim a batch of each table ──▶ send each ──▶ wait
                │ no: wait     │ yes: wait     │ refused: wait                 │ fails: release at once, back off

Any number of dispatchers may run: a claim is atomic. A dispatcher that dies between a claim and its send leaves rows
that are due again when their lease ends.
"""

import json
import logging
import math
import os
import random
import time
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import redis

from rowcache_tasks.dispatch.backpressure import Backpressure
from rowcache_tasks.dispatch.next_due import read_next_due
from rowcache_tasks.dispatch.sender import Broker, Sender
from rowcache_tasks.dispatch.sent_batches import SentBatches
from rowcache_tasks.dispatch.wakeup import Wakeup
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.rows import Schedule

Claimed = tuple[Claim | None, float]
"""A claim, None if it was refused, and the due time of the next row by the monotonic clock."""

logger = logging.getLogger(__name__)

LOOKS = 5
"""Limit of looks for proven rows after one claim with half a batch or more of new and failing rows."""
LOOK_ROWS = 1000
"""Rows of one look: about 1.5 ms of the server."""

MAX_PAUSE_S = 1.0
"""Longest pause after a failure. Jitter keeps dispatchers from coming back all at once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings of a dispatcher, as in Settings."""

    batch_size: int = 500
    lease_s: float = 30.0
    poll_interval_s: float = 0.05
    max_queue: int = 50


class Dispatcher:
    """Claims the due rows of some tables and sends them, at most one batch of each table a pass.

    `deferral` is entered from a claim until its batch was sent or released: it may defer signals. `name`: in
    the notes of its claims.
    """

    def __init__(
        self,
        client: "redis.Redis",
        schedules: Sequence[Schedule],
        broker: Broker,
        limits: Limits,
        deferral: AbstractContextManager[object] | None = None,
        name: str = "",
    ) -> None:
        self._client = client
        self._schedules = schedules
        self._limits = limits
        self._facts = {"dispatcher": name, "pid": os.getpid()}
        self._deferral = deferral or nullcontext()
        self._wakeup = Wakeup(client, [schedule.table.keys.wake for schedule in schedules])
        batches = SentBatches(client, schedules[0].table.keys.queue)
        self._backpressure = Backpressure(batches, broker.queue_length, limits.lease_s, limits.max_queue)
        self._sender = Sender(broker, self._backpressure)
        # A little early: a change by another program is noticed and claimed within the interval.
        self._poll_interval_s = 0.9 * limits.poll_interval_s
        # Times of the monotonic clock; the first by the wake key of a table.
        self._due_at = {schedule.table.keys.wake: -math.inf for schedule in schedules}
        self._proven_since = dict.fromkeys(self._due_at, "-inf")
        """Due time in Redis at which the next look for proven rows of a table goes on."""
        self._look_at = self._resume_at = self._linger_until = 0.0
        self._failures = 0
        self._failing: set[str] = set()

    def run(self, until: float) -> None:
        """Dispatch until a time of the monotonic clock. Logs an Exception, pauses and goes on."""
        while (now := time.monotonic()) < until:
            woken = self._wakeup.wait(min(self._resume_at, until) - now)
            if woken:
                self._due_at[woken] = -math.inf
                if not self._failures:
                    self._resume_at = min(self._resume_at, self._linger_until)
            if time.monotonic() >= self._resume_at:
                pause_s = self._run_once_or_log()
                self._resume_at = time.monotonic() + pause_s

    def close(self) -> None:
        """Close the connection that the sleep holds. Idempotent."""
        self._wakeup.close()

    def run_once(self) -> float:
        """Make one pass; return the pause before the next in seconds. Raises the errors of claims and sends."""
        self._sender.release_unsent()
        due = self._find_due()
        if not due or self._backpressure.is_full():
            self._backpressure.note_progress()
            return self._poll_interval_s if due else self._until_due_s()
        claims = self._dispatch_tables(due)
        if None in claims:
            return 0.0 if self._backpressure.forget_lost() else self._poll_interval_s
        self._backpressure.note_progress()
        sizes = [len(claim.row_ids) for claim in claims if claim]
        if self._limits.batch_size in sizes:
            return 0.0
        linger_s = self._backpressure.linger_s(self._poll_interval_s) if any(sizes) else 0.0
        self._linger_until = time.monotonic() + linger_s
        return max(self._until_due_s(), linger_s)

    def _run_once_or_log(self) -> float:
        """Make one pass; return the pause before the next in seconds, after a failure one that grows."""
        try:
            pause_s = self.run_once()
        except Exception as error:
            self._failures += 1
            if self._failures == 1:
                is_foreseen, kind = isinstance(error, redis.RedisError | OSError), type(error).__name__
                logger.warning("dispatch_failed, trying again: %s: %s", kind, error, exc_info=not is_foreseen)
            jitter = random.uniform(0.5, 1)  # noqa: S311 nothing secret
            return jitter * min(MAX_PAUSE_S, 0.05 * 2.0 ** min(self._failures, 10))
        if self._failures:
            logger.info("dispatch_recovered after %d failed passes", self._failures)
        self._failures = 0
        return pause_s

    def _find_due(self) -> Sequence[Schedule]:
        """Return the schedules with due rows.

        Each claim returns the next due time of its table. Redis is asked when no row is known to be due. It is also
        asked once in a poll interval, since other programs change the schedule.
        """
        now = time.monotonic()
        if now >= self._look_at or now < min(self._due_at.values()):
            due_in_s = read_next_due(self._client, [schedule.table.keys.schedule for schedule in self._schedules])
            now = time.monotonic()
            self._due_at = {key: now + seconds for key, seconds in zip(self._due_at, due_in_s, strict=True)}
            self._look_at = now + self._poll_interval_s
            self._failing.intersection_update(schedule.table.name for schedule in self._due(now))
        return self._due(now)

    def _due(self, now: float) -> Sequence[Schedule]:
        return [schedule for schedule in self._schedules if self._due_at[schedule.table.keys.wake] <= now]

    def _until_due_s(self) -> float:
        """Return the seconds until a row is known to be due, at most the poll interval."""
        return max(0.0, min(self._poll_interval_s, min(self._due_at.values()) - time.monotonic()))

    def _dispatch_tables(self, due: Sequence[Schedule]) -> list[Claim | None]:
        """Claim and send a batch of each table; the last is None when the claim was refused. Raises if all fail."""
        claims: list[Claim | None] = []
        errors: dict[str, Exception] = {}
        for schedule in due:
            table = schedule.table
            try:
                claim, due_at = self._dispatch_table(schedule)
            except Exception as error:  # noqa: BLE001 a table that fails must not stop the others
                errors[table.name] = error
                self._due_at[table.keys.wake] = time.monotonic() + self._poll_interval_s
                continue
            self._failing.discard(table.name)
            claims.append(claim)
            if claim is None:
                break
            self._due_at[table.keys.wake] = due_at
        if errors and len(self._failing | errors.keys()) == len(self._schedules):
            raise next(iter(errors.values()))
        for name, reason in errors.items():
            if name not in self._failing:
                logger.warning("dispatch_failed for %s, trying again: %s: %s", name, type(reason).__name__, reason)
        self._failing |= errors.keys()
        return claims

    def _dispatch_table(self, schedule: Schedule) -> Claimed:
        """Claim a batch and send it. The due time is inf when nothing is scheduled, or the table is paused."""
        claim, due_at = self._claim_and_send(schedule, self._limits.batch_size)
        if claim and due_at <= time.monotonic() and claim.unproven >= self._limits.batch_size / 2:
            self._dispatch_proven(schedule)
        else:
            self._proven_since[schedule.table.keys.wake] = "-inf"
        return claim, due_at

    def _dispatch_proven(self, schedule: Schedule) -> None:
        """Send up to a batch of rows that were refreshed before, past new and failing ones that were due earlier.

        A hundred thousand new or missing rows thus take only half of the capacity of the workers. A look starts at the
        end of the last one. After the last due row, the next look starts half a lease before the claim: rows with a
        refresh in flight may be due again from that time on. The length of the queue is not checked before a look:
        otherwise new and failing rows would keep proven rows out of a full queue.
        """
        wake, left = schedule.table.keys.wake, self._limits.batch_size
        for _ in range(LOOKS):
            claim, _ = self._claim_and_send(schedule, left, LOOK_ROWS, self._proven_since[wake])
            if claim is None:
                return
            restart = repr(float(claim.claimed_at) - self._limits.lease_s / 2)
            self._proven_since[wake] = claim.go_on_at or restart
            left -= len(claim.row_ids)
            if not claim.go_on_at or left <= 0:
                return

    def _claim_and_send(self, schedule: Schedule, limit: int, looks: int = 0, since: str = "-inf") -> Claimed:
        with self._deferral:
            asked_at, task_id = time.monotonic(), str(uuid.uuid4())
            note = json.dumps(self._facts | {"task": task_id})
            claim, due_at = self._claim(schedule, note, limit, looks, since)
            if claim and claim.row_ids:
                claims = [replace(claim, task_id=task_id)]
                if not looks:
                    due_at = self._claim_more(schedule, claims, due_at, note)
                claim = self._sender.send(schedule, claims, asked_at)[-1]
        if claim and (claim.row_ids or not looks):
            self._backpressure.note_claim(claim)
        return claim, due_at

    def _claim(self, schedule: Schedule, note: str, limit: int, looks: int = 0, since: str = "-inf") -> Claimed:
        claim, next_due = schedule.claim_rows(limit, self._limits.lease_s, looks, since, note)
        if claim is None or next_due is None:
            return claim, math.inf
        return claim, time.monotonic() + next_due - float(claim.claimed_at)

    def _claim_more(self, schedule: Schedule, claims: list[Claim], due_at: float, note: str) -> float:
        """Add claims to those of a message while batches wait for workers; return the due time of the next row."""
        while self._backpressure.lets_share(claims, self._limits.batch_size):
            try:
                claim, next_at = self._claim(schedule, note, self._limits.batch_size)
            except redis.RedisError:
                break  # the next pass meets the error; what is claimed is sent
            if claim is None:
                break
            due_at = next_at
            if not claim.row_ids:
                break
            claims.append(claim)
        return due_at
