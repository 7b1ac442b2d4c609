"""Own the dispatcher's loop: claim what is due, send it, sleep until the next. Must not know Celery: send is passed in.

    wait ──▶ rows due? ──▶ queue long? ──▶ claim a batch of each table ──▶ send each ──▶ wait
                │ no: wait     │ yes: wait     │ queue does not move: wait     │ fails: release at once, back off

When the next row of a table is due is known from its last claim, or from the last look at all tables (see lookout.py).

How many batches wait for a worker comes with each claim; the broker is asked only when that is too many, since it
counts those that workers have fetched, and those that were lost.

Any number of dispatchers may run: the claim is atomic. If one dies between claim and send, its batch waits one lease.
"""

import logging
import math
import random
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from rowcache_tasks.dispatch.backpressure import EXPIRY_SLACK_S, SEND_SHARE, Backlog
from rowcache_tasks.dispatch.linger import linger_s
from rowcache_tasks.dispatch.next_due import Lookout
from rowcache_tasks.dispatch.overlong import is_too_long, set_aside
from rowcache_tasks.dispatch.wakeup import Alarm
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.rows import Backoff, Schedule

__all__ = ["Broker", "Dispatcher", "Limits"]

logger = logging.getLogger(__name__)

MAX_PAUSE_S = 2.0
"""The longest pause after a failure; the jitter keeps dispatchers from coming back all at once."""


class Broker(Protocol):
    """What is needed of a message broker."""

    def send(self, table: str, claim: Claim) -> None:
        """Send a batch, or raise."""

    def queue_length(self) -> int:
        """Count the batches that wait for a worker."""

    def flush(self) -> None:
        """Send what was held back, if anything; called when there is nothing to dispatch. Or raise."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of a dispatcher, as in Settings."""

    batch_size: int = 500
    lease_s: float = 30.0
    poll_interval_s: float = 0.05
    max_queue: int = 50


class Dispatcher:
    """Claims due rows of some tables and sends them, at most one batch of each table a pass.

    `shield` is entered from a claim until its batch was sent or released: it may hold signals back.
    """

    def __init__(
        self,
        schedules: Sequence[Schedule],
        broker: Broker,
        alarm: Alarm,
        lookout: Lookout,
        backlog: Backlog,
        limits: Limits,
        shield: AbstractContextManager[object] | None = None,
    ) -> None:
        self._schedules = schedules
        self._broker = broker
        self._alarm = alarm
        self._lookout = lookout
        self._backlog = backlog
        self._limits = limits
        self._shield = shield or nullcontext()
        # A little early, so that a change is noticed and claimed within the interval.
        self._poll_interval_s = 0.9 * limits.poll_interval_s
        self._due_at = {schedule.table.keys.wake: -math.inf for schedule in schedules}  # of the monotonic clock
        self._look_at = 0.0
        self._behind = limits.max_queue
        self._linger_until = 0.0
        self._failures = 0
        self._failing: set[str] = set()
        self._stuck_since: float | None = None
        self._resume_at = 0.0

    def run(self, until: float) -> None:
        """Dispatch until a time of the monotonic clock. Raises no Exception: it logs, pauses and goes on."""
        while (now := time.monotonic()) < until:
            woken = self._alarm.wait(min(self._resume_at, until) - now)
            if woken:
                self._due_at[woken] = -math.inf
                if not self._failures:
                    self._resume_at = min(self._resume_at, self._linger_until)
            if time.monotonic() >= self._resume_at:
                self._guarded_pass()

    def run_once(self) -> float:
        """Make one pass; return the seconds after which the next makes sense. Raises what claim or send raise."""
        due = self._look_for_due()
        if not due or self._is_queue_full():
            self._stuck_since = None
            self._broker.flush()
            return self._poll_interval_s if due else self._pause_s()
        claims = self._dispatch_tables(due)
        if None in claims:
            self._behind = self._limits.max_queue  # what is forgotten now may lie in the queue all the same
            self._broker.flush()
            return self._wait_for_workers()
        self._stuck_since = None
        sizes = [len(claim.row_ids) for claim in claims if claim]
        if not any(sizes):
            self._broker.flush()
        is_full = self._limits.batch_size in sizes
        lingers_s = linger_s(self._behind, self._poll_interval_s) if any(sizes) and not is_full else 0.0
        self._linger_until = time.monotonic() + lingers_s
        return 0.0 if is_full else max(self._pause_s(), lingers_s)

    def _dispatch_tables(self, due: Sequence[Schedule]) -> list[Claim | None]:
        """Claim and send a batch of each table; the last is None if the queue does not move. Raises if all fail."""
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
            self._behind = claim.behind
        if errors and len(self._failing | errors.keys()) == len(self._schedules):
            raise next(iter(errors.values()))
        for name, reason in errors.items():
            self._note_failure(name, reason)
        return claims

    def _look_for_due(self) -> Sequence[Schedule]:
        """Give the schedules with due rows. Looks when none is known, and once in a while, as others change them."""
        now = time.monotonic()
        if now >= self._look_at or now < min(self._due_at.values()):
            due_in_s = self._lookout.look()
            now = time.monotonic()
            self._due_at = {key: now + seconds for key, seconds in zip(self._due_at, due_in_s, strict=True)}
            self._look_at = now + self._poll_interval_s
            self._failing.intersection_update(schedule.table.name for schedule in self._due(now))
        return self._due(now)

    def _due(self, now: float) -> Sequence[Schedule]:
        return [schedule for schedule in self._schedules if self._due_at[schedule.table.keys.wake] <= now]

    def _pause_s(self) -> float:
        """Give how long nothing is due, as far as is known; never more than the poll interval."""
        return max(0.0, min(self._poll_interval_s, min(self._due_at.values()) - time.monotonic()))

    def _is_queue_full(self) -> bool:
        """Whether enough batches wait for a worker, so that nothing should be claimed."""
        if self._behind < self._limits.max_queue or self._broker.queue_length() < self._limits.max_queue:
            return False
        logger.debug("queue_full", extra={"max_queue": self._limits.max_queue})
        return True

    def _dispatch_table(self, schedule: Schedule) -> tuple[Claim | None, float]:
        """Claim a batch and send it; if that fails, hand the rows back at once. None: the queue does not move.

        Also gives when the next row is due, a time of the monotonic clock; inf: none is, or the table is paused.
        A message that arrived all the same does no harm. If the process dies in between, the rows wait one lease.
        """
        with self._shield:
            asked_at = time.monotonic()
            claim, next_due = schedule.claim_rows(self._limits.batch_size, self._limits.lease_s)
            claimed_at = time.monotonic()
            if claim and any(map(is_too_long, claim.row_ids)):
                claim = set_aside(schedule, claim)
                if not claim.row_ids:
                    self._backlog.cancel(claim)
            if claim and claim.row_ids:
                self._send(schedule, claim, asked_at)
        if claim is None or next_due is None:
            return claim, math.inf
        return claim, claimed_at + next_due - float(claim.claimed_at)

    def _send(self, schedule: Schedule, claim: Claim, asked_at: float) -> None:
        """Send a batch, unless it is late already: SEND_SHARE of its lease after the claim was asked for."""
        late_at = asked_at + SEND_SHARE * self._limits.lease_s
        try:
            if time.monotonic() > late_at:
                raise TimeoutError(f"the process or Redis stood still for over {SEND_SHARE} of a lease")
            self._broker.send(schedule.table.name, claim)
        except BaseException:
            schedule.release_rows(claim, dict.fromkeys(claim.row_ids, ""), Backoff())
            self._backlog.cancel(claim)
            raise
        if time.monotonic() > late_at:
            self._backlog.note_again(claim)
        logger.debug("dispatched", extra={"table": schedule.table.name, "rows": len(claim.row_ids)})

    def _wait_for_workers(self) -> float:
        """Claim nothing while an old batch lies in the queue, so that no row lies in two of them."""
        lease_s = self._limits.lease_s
        asked_at = self._backlog.now()  # before: what is sent after a look at the queue is not forgotten
        if self._broker.queue_length() == 0:
            self._backlog.forget(asked_at - lease_s / 2)  # lost with the broker, or with a worker
            return 0.0
        self._backlog.forget(asked_at - lease_s - EXPIRY_SLACK_S)  # expired: nobody starts them any more
        now = time.monotonic()
        if self._stuck_since is None:
            self._stuck_since = now
        elif now - self._stuck_since > lease_s:
            logger.warning("queue_stuck: nothing was claimed for a lease, as no worker starts what is in the queue")
            self._stuck_since = math.inf
        return self._poll_interval_s

    def _note_failure(self, table: str, error: Exception) -> None:
        """Log the first of a table's failures in a row."""
        if table not in self._failing:
            self._failing.add(table)
            logger.warning("dispatch_failed for %s, trying again: %s: %s", table, type(error).__name__, error)

    def _guarded_pass(self) -> None:
        try:
            pause_s = self.run_once()
        except Exception as error:
            self._failures += 1
            pause_s = min(MAX_PAUSE_S, 0.05 * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1)  # noqa: S311 jitter
            if self._failures == 1:
                logger.warning("dispatch_failed, trying again: %s: %s", type(error).__name__, error, exc_info=True)
        else:
            if self._failures:
                logger.info("dispatch_recovered after %d failed passes", self._failures)
            self._failures = 0
        self._resume_at = time.monotonic() + pause_s
