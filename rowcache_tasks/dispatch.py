"""Own the dispatcher's loop: claim what is due, send it, sleep until the next. Must not know Celery: send is passed in.

    wait ──▶ queue long? ──▶ claim a batch of each table ──▶ send each ──▶ wait
                 │ yes: wait                                    │ fails: release at once, back off

Any number of dispatchers may run: the claim is atomic. If one dies between claim and send, its batch waits one lease.
"""

import logging
import random
import time
from collections.abc import Callable, Sequence

from rowcache_tasks.alarm import Alarm
from rowcache_tasks.schedule import Backoff, Claim, Schedule

__all__ = ["Dispatcher"]

logger = logging.getLogger(__name__)

LINGER_S = 0.002
"""After a batch that was not full, rows that become due meanwhile share the next one instead of a message each."""

SHALLOW = 2
"""While so many batches wait for a worker, one that is not full would only make the queue longer: it grows first."""

MAX_PAUSE_S = 2.0
"""The longest pause after a failure; the jitter keeps dispatchers from coming back all at once."""


class Dispatcher:
    """Claims due rows of some tables and sends them, at most one batch of each table a pass."""

    def __init__(
        self,
        schedules: Sequence[Schedule],
        send: Callable[[str, Claim], None],
        queue_length: Callable[[], int],
        alarm: Alarm,
        *,
        batch_size: int,
        lease_s: float,
        poll_interval_s: float,
        max_queue: int,
    ) -> None:
        self._schedules = schedules
        self._send = send
        self._queue_length = queue_length
        self._alarm = alarm
        self._batch_size = batch_size
        self._lease_s = lease_s
        # A little early, so that a change is noticed and claimed within the interval.
        self._poll_interval_s = 0.9 * poll_interval_s
        self._max_queue = max_queue
        self._may_be_full = True
        self._grow_until = 0.0
        self._failures = 0
        self._failing: set[str] = set()
        self._resume_at = 0.0

    def run(self, until: float) -> None:
        """Dispatch until a time of the monotonic clock. Raises no Exception: it logs, pauses and goes on."""
        while (now := time.monotonic()) < until:
            woken = self._alarm.wait(min(self._resume_at, until) - now)
            if time.monotonic() >= self._resume_at or (woken and not self._failures):
                self._guarded_pass()

    def run_once(self) -> float:
        """Make one pass; return the seconds after which the next makes sense. Raises what claim or send raise."""
        if self._may_be_full:
            waiting = self._queue_length()
            if waiting >= self._max_queue:
                logger.debug("queue_full", extra={"max_queue": self._max_queue})
                return self._poll_interval_s
            if waiting >= SHALLOW and time.monotonic() < self._grow_until:
                return 2 * LINGER_S
        pause_s, sent, is_full = self._poll_interval_s, 0, False
        errors: dict[str, Exception] = {}
        for schedule in self._schedules:
            try:
                claim, next_due = self._dispatch_table(schedule)
            except Exception as error:  # noqa: BLE001 a table that fails must not stop the others
                errors[schedule.table.name] = error
                continue
            self._failing.discard(schedule.table.name)
            sent += bool(claim.row_ids)
            is_full = is_full or len(claim.row_ids) == self._batch_size
            if next_due is not None:
                pause_s = min(pause_s, next_due - float(claim.claimed_at))
        if len(errors) == len(self._schedules):
            raise next(iter(errors.values()))
        for table, reason in errors.items():
            self._note_failure(table, reason)
        self._may_be_full = sent > 0
        self._grow_until = 0.0 if is_full else time.monotonic() + self._poll_interval_s
        return max(pause_s, LINGER_S if sent and not is_full else 0.0)

    def _dispatch_table(self, schedule: Schedule) -> tuple[Claim, float | None]:
        """Claim a batch and send it; if that fails, hand the rows back at once.

        A message that arrived all the same does no harm. If the process dies in between, the rows wait one lease.
        """
        claim, next_due = schedule.claim_rows(self._batch_size, self._lease_s)
        if claim.row_ids:
            try:
                self._send(schedule.table.name, claim)
            except BaseException:
                schedule.release_rows(claim, dict.fromkeys(claim.row_ids, ""), Backoff())
                raise
            logger.debug("dispatched", extra={"table": schedule.table.name, "rows": len(claim.row_ids)})
        return claim, next_due

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
