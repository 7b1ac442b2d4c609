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
from dataclasses import replace

import redis

from rowcache_tasks.dispatch.backpressure import Limits, Pressures
from rowcache_tasks.dispatch.failing import Failing
from rowcache_tasks.dispatch.next_due import NextDue
from rowcache_tasks.dispatch.parts import Claimed, PartsDispatch, by_table
from rowcache_tasks.dispatch.sender import Broker, Sender
from rowcache_tasks.dispatch.wakeup import Wakeup
from rowcache_tasks.keys import DeploymentNames
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.servers import Servers

Found = tuple[Claim | None, float]
"""A claim, None if it was refused, and the due time of the next row by the monotonic clock."""

logger = logging.getLogger(__name__)

LOOKS = 5  # limit of looks for proven rows after one claim with half a batch or more of new and failing rows
LOOK_ROWS = 1000  # rows of one look: about 1.5 ms of the server
MAX_PAUSE_S = 1.0  # longest pause after a failure. Jitter keeps dispatchers from coming back all at once.


class Dispatcher:
    """Claims the due rows of some tables and sends them, at most one batch of each table a pass.

    `deferral`, entered from a claim until its batch was sent, may defer signals. `name` is in the notes of its claims.
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
        self._schedules = schedules
        self._limits = limits
        self._facts = {"dispatcher": name, "pid": os.getpid()}
        self._deferral = deferral or nullcontext()
        wakes = [schedule.table.keys.wake for schedule in schedules]
        home = DeploymentNames.of(schedules[0].table.deployment).home
        self._next_due = NextDue(client, [schedule.table for schedule in schedules])
        self._wakeup = Wakeup(client, [home] if isinstance(client, Servers) else wakes)
        self._pressures = Pressures(client, schedules, broker.queue_length, limits)
        self._sender = Sender(broker, self._pressures.by_queue)
        self._parts = PartsDispatch(client, self._sender, self._pressures, limits, self._deferral, self._facts)
        # A little early: a change by another program is noticed and claimed within the interval.
        self._poll_interval_s = 0.94 * limits.poll_interval_s
        # Times of the monotonic clock; the first by the wake key of a table.
        self._due_at = {schedule.table.keys.wake: -math.inf for schedule in schedules}
        self._proven_since = dict.fromkeys(self._due_at, "-inf")
        """Due time in Redis at which the next look for proven rows of a table goes on."""
        self._look_at = self._resume_at = self._linger_until = 0.0
        self._failures = 0
        self.failing = Failing(len(schedules))
        self._has_more = False  # whether a claim of the last pass was full

    def run(self, until: float) -> None:
        """Dispatch until a time of the monotonic clock. Logs an Exception, pauses and goes on."""
        while (now := time.monotonic()) < until:
            woken = self._wakeup.wait(min(self._resume_at, until) - now)
            if woken in self._due_at:
                self._due_at[woken] = -math.inf
            if woken and not self._failures:
                self._resume_at = min(self._resume_at, self._linger_until)
            if time.monotonic() >= self._resume_at:
                pause_s = self._run_once_or_log()
                self._resume_at = time.monotonic() + pause_s

    def close(self) -> None:
        """Close the connections that the sleep and the looks hold. Idempotent."""
        self._wakeup.close()
        self._next_due.close()

    def run_once(self) -> float:
        """Make one pass; return the pause before the next in seconds. Raises the errors of claims and sends."""
        self._sender.release_unsent()
        due = self._find_due()
        if not due or self._pressures.is_full():
            self._pressures.note_progress()
            return self._poll_interval_s if due else self._until_due_s()
        sizes, refused = self._dispatch_tables(due)
        if not refused:
            self._pressures.note_progress()
        elif self._pressures.forget_lost(refused):
            self._due_at |= {schedule.table.keys.wake: -math.inf for schedule in refused}
            return 0.0
        elif not any(sizes):
            return self._poll_interval_s
        if self._has_more:
            return 0.0
        linger_s = self._pressures.linger_s(self._poll_interval_s, len(sizes)) if any(sizes) else 0.0
        self._linger_until = time.monotonic() + linger_s
        return max(self._until_due_s(), linger_s)

    def _run_once_or_log(self) -> float:
        """Make one pass; return the pause before the next in seconds, after a failure one that grows."""
        try:
            pause_s = self.run_once()
        except Exception as error:
            self._failures += 1
            self.failing.note_refusal(error)
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
        """Return the schedules with due rows, as claims return it.

        Redis is asked when no row is known to be due, and once in a poll interval: other programs change the schedule.
        """
        now = time.monotonic()
        if now >= self._look_at or now < min(self._due_at.values()):
            due_in_s, now = self._next_due.read(), time.monotonic()
            self._due_at = {key: now + seconds for key, seconds in due_in_s.items()}
            self._look_at = now + self._poll_interval_s
            self.failing.keep(schedule.table.label for schedule in self._due(now))
        return self._due(now)

    def _due(self, now: float) -> Sequence[Schedule]:
        return [schedule for schedule in self._schedules if self._due_at[schedule.table.keys.wake] <= now]

    def _until_due_s(self) -> float:
        """Return the seconds until a row is known to be due, at most the poll interval."""
        return max(0.0, min(self._poll_interval_s, min(self._due_at.values()) - time.monotonic()))

    def _dispatch_tables(self, due: Sequence[Schedule]) -> tuple[list[int], list[Schedule]]:
        """Claim and send a batch of each table; return the sizes and the refused ones. Raises an error if all fail."""
        sizes: list[int] = []
        refused: list[Schedule] = []
        errors: dict[str, Exception] = {}
        self._has_more = False
        for parts in by_table(due):
            try:
                claimed = (
                    self._parts.dispatch(parts)
                    if len(parts) > 1
                    else [Claimed(parts[0], *self._claim_and_send(parts[0], self._limits.batch_size))]
                )
            except Exception as error:  # noqa: BLE001 a table that fails must not stop the others
                claimed = [Claimed(schedule, None, 0.0, error) for schedule in parts]
            for schedule, claim, due_at, reason, limit in claimed:
                key, label = schedule.table.keys.wake, schedule.table.label
                self._due_at[key] = due_at if claim else time.monotonic() + self._poll_interval_s
                if reason is not None:
                    errors[label] = reason
                elif claim is None:
                    refused.append(schedule)
                else:
                    sizes.append(len(claim.row_ids))
                    self._look_further(schedule, claim, due_at, limit or self._limits.batch_size)
            if any("{" not in each.table.place for each in refused):  # all others but those share one queue
                break
        self.failing.note(errors, [schedule.table.label for schedule in due if schedule.table.label not in errors])
        return sizes, refused

    def _look_further(self, schedule: Schedule, claim: Claim, due_at: float, limit: int) -> None:
        """Note a full claim; after one of new and failing rows, send proven rows."""
        self._has_more = self._has_more or len(claim.row_ids) >= limit
        is_capped = bool(schedule.table.max_rate)  # the claim has left half of the cap to a look
        crowd = max(1, len(claim.row_ids)) if is_capped else limit
        if 2 * claim.unproven >= crowd and (is_capped or due_at <= time.monotonic()):
            self._dispatch_proven(schedule)
        else:
            self._proven_since[schedule.table.keys.wake] = "-inf"

    def _dispatch_proven(self, schedule: Schedule) -> None:
        """Send up to a batch of rows that were refreshed before, past new and failing ones that were due earlier.

        A hundred thousand new or missing rows thus take only half of the workers, or of a cap. A look starts at the end
        of the last one. After the last due row, the next look starts half a lease before the claim: rows with a refresh
        in flight may be due again from then on. The length of the queue is not checked: it may be full of such rows.
        """
        wake, left = schedule.table.keys.wake, self._limits.batch_size
        for _ in range(LOOKS):
            claim, due_at = self._claim_and_send(schedule, left, LOOK_ROWS, self._proven_since[wake])
            if claim is None:
                return
            restart = repr(float(claim.claimed_at) - self._limits.lease_s / 2)
            self._proven_since[wake] = claim.go_on_at or restart
            left -= len(claim.row_ids)
            if not claim.go_on_at or left <= 0 or due_at > time.monotonic():  # the cap allows no more
                return

    def _claim_and_send(self, schedule: Schedule, limit: int, looks: int = 0, since: str = "-inf") -> Found:
        with self._deferral:
            asked_at, task_id = time.monotonic(), str(uuid.uuid4())
            note = json.dumps(self._facts | {"task": task_id})
            claim, due_at = self._claim(schedule, note, limit, looks, since)
            if claim and claim.row_ids:
                claims = [replace(claim, task_id=task_id)]
                if not looks:
                    due_at = self._claim_more(schedule, claims, due_at, note)
                claim = self._sender.send([(schedule, each) for each in claims], asked_at)[-1]
        if claim and (claim.row_ids or not looks):
            self._pressures.of(schedule).note_claim(claim)
        return claim, due_at

    def _claim(self, schedule: Schedule, note: str, limit: int, looks: int = 0, since: str = "-inf") -> Found:
        lease_s, least_s = self._limits.lease_s, self._limits.least_lease_s
        claim, next_due = schedule.claim_rows(limit, lease_s, looks, since, note, least_s)
        if claim is None or next_due is None:
            return claim, math.inf
        return claim, time.monotonic() + next_due - float(claim.claimed_at)

    def _claim_more(self, schedule: Schedule, claims: list[Claim], due_at: float, note: str) -> float:
        """Add claims to those of a message while batches wait for workers; return the due time of the next row."""
        while self._pressures.of(schedule).lets_share(claims, self._limits.batch_size):
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
