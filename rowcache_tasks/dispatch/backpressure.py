"""Policy of the queue: when to claim, how long to wait, what is lost.

No row lies in two batches of the queue. While the oldest batch on the list of sent batches was claimed less than half
of the shortest lease ago, no lease of a batch in the queue has ended. Beyond that, nothing is claimed until a worker
starts that batch, or until it counts as lost: the queue at the broker is empty, or the batch has expired.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import redis

from rowcache_tasks.dispatch.sent_batches import EXPIRY_SLACK_S, SEND_SHARE, SentBatches
from rowcache_tasks.schedule.claim import MAX_SHARED, Claim
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.servers import by_node

logger = logging.getLogger(__name__)

LINGER_S = 0.002
"""Pause after a batch that was not full: rows that become due meanwhile share a batch.

Once more so long for each batch that no worker has started: when workers fall behind, another small batch makes the
queue longer, and a large one costs hardly more.
"""

MAX_SHARED_CHARACTERS = 100_000
"""Length of all row ids of a message that another claim joins: long ones must not make it too long for workers."""

CLAIMS_ALIKE = 8  # claims of parts that cost about as much as one more batch

LEAST_LEASE_S = 5.0
"""Shortest lease of a claim, unless rowcache_lease is shorter. A worker that stands still for less loses no batch."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings of a dispatcher, as in Settings."""

    batch_size: int = 500
    lease_s: float = 30.0  # the longest; the lease of a claim follows the time that batches take
    poll_interval_s: float = 0.05
    max_queue: int = 50

    @property
    def least_lease_s(self) -> float:
        """The shortest lease."""
        return min(self.lease_s, LEAST_LEASE_S)


class Backpressure:
    """Bounds the queue of one dispatcher. `queue_length` counts the messages at the broker.

    Each claim returns the number of batches not started yet. That includes batches that workers have fetched, and lost
    ones: when the number reaches `max_queue`, the broker is asked as well.
    """

    def __init__(self, batches: SentBatches, queue_length: Callable[[], int], limits: Limits) -> None:
        self._batches = batches
        self._queue_length = queue_length
        self._limits = limits
        self.unstarted = limits.max_queue  # batches that no worker has started, as far as is known
        self._refused_since: float | None = None

    def is_full(self, others: int = 0) -> bool:
        """Return whether the queue is too long to claim anything, with so many batches on other lists."""
        if self.unstarted + others < self._limits.max_queue:
            return False
        return self._queue_length() * MAX_SHARED >= self._limits.max_queue

    def lets_share(self, claims: Sequence[Claim], batch_size: int) -> bool:
        """Return whether another claim joins those of a message.

        A message holds no more claims than batches wait, since a batch that waits gains nothing from its own message.
        Workers with nothing to do get one batch each.
        """
        newest = claims[-1]
        if len(claims) >= min(MAX_SHARED, claims[0].behind):
            return False
        if len(newest.row_ids) < batch_size or newest.unproven >= batch_size / 2:
            return False
        return sum(len(row_id) for claim in claims for row_id in claim.row_ids) <= MAX_SHARED_CHARACTERS

    def note_claim(self, claim: Claim) -> None:
        """Note how many batches were not started when this one was claimed."""
        self.unstarted = claim.behind

    def note_progress(self) -> None:
        """Note that claims are not refused, or that nothing is due."""
        self._refused_since = None

    def check_send(self, asked_at: float) -> None:
        """Raise TimeoutError when SEND_SHARE of the shortest lease is over since `asked_at` (monotonic clock)."""
        if self._is_late(asked_at):
            raise TimeoutError(f"the process or Redis stood still for over {SEND_SHARE} of the shortest lease")

    def note_sent(self, claim: Claim, asked_at: float) -> None:
        """Note that a batch was sent, or that no row of it is left to send."""
        if not claim.row_ids:
            self._batches.remove(claim)
        elif self._is_late(asked_at):
            self._batches.add(claim)

    def note_unsent(self, claim: Claim) -> None:
        """Note that a batch was not sent."""
        self._batches.remove(claim)

    def _is_late(self, asked_at: float) -> bool:
        return time.monotonic() > asked_at + SEND_SHARE * self._limits.least_lease_s

    def forget_lost(self, states: Sequence[str] = ()) -> bool:
        """Remove lost batches after a refused claim; return whether to claim again at once.

        An empty queue: what is on the list was lost with the broker, or was fetched by a worker. `states`: HASHes of
        the parts on the same server; what was sent before the newest batch started of them is lost or started.
        """
        self.unstarted = self._limits.max_queue  # a forgotten batch may lie in the queue all the same
        asked_at = self._batches.now()  # before the question: a batch sent after the answer is not forgotten
        if self._queue_length() == 0:
            self._batches.forget(asked_at - self._limits.least_lease_s / 2)
            return True
        self._batches.forget(asked_at - self._limits.lease_s - EXPIRY_SLACK_S)
        if states:
            self._batches.forget_passed(states, self._limits.lease_s)
        now = time.monotonic()
        if self._refused_since is None:
            self._refused_since = now
        elif now - self._refused_since > self._limits.lease_s:
            logger.warning("queue_stuck: nothing was claimed for a lease, as no worker starts what is in the queue")
            self._refused_since = math.inf
        return False

    def linger_s(self, longest_s: float) -> float:
        """Return the pause after a batch that was not full; seconds."""
        return min(longest_s, LINGER_S * (1 + self.unstarted))


class Pressures:
    """Back-pressure by the key of the list: each part of a table has one, all other tables share one."""

    def __init__(
        self,
        client: "redis.Redis",
        schedules: Sequence[Schedule],
        queue_length: Callable[[], int],
        limits: Limits,
    ) -> None:
        self._client = client
        self._tables = [schedule.table for schedule in schedules]
        self._queue_length = queue_length
        self.by_queue: Mapping[str, Backpressure] = {
            queue: Backpressure(SentBatches(client, queue), self._length, limits)
            for queue in dict.fromkeys(table.keys.queue for table in self._tables)
        }
        self._asked = queue_length

    def _length(self) -> int:
        return self._asked()

    def of(self, schedule: Schedule) -> Backpressure:
        """Return that of a table or a part."""
        return self.by_queue[schedule.table.keys.queue]

    def is_full(self) -> bool:
        """Return whether the queue is too long to claim anything."""
        first, *others = self.by_queue.values()
        return first.is_full(sum(other.unstarted for other in others))

    def note_progress(self) -> None:
        """Note that claims are not refused, or that nothing is due."""
        for each in self.by_queue.values():
            each.note_progress()

    def linger_s(self, longest_s: float, claims: int) -> float:
        """Return the pause after so many claims that were not full; seconds."""
        fullest = max(self.by_queue.values(), key=lambda each: each.unstarted)
        return min(longest_s, fullest.linger_s(longest_s) * max(1.0, claims / CLAIMS_ALIKE))

    def forget_lost(self, refused: Sequence[Schedule]) -> bool:
        """Remove lost batches after refused claims; return whether to claim again at once. Asks the broker once."""
        self._asked = cache(self._queue_length)
        try:
            return sum(self.of(schedule).forget_lost(self._states_beside(schedule)) for schedule in refused) > 0
        finally:
            self._asked = self._queue_length

    def _states_beside(self, schedule: Schedule) -> list[str]:
        """Return the state of each part on the same server; none for a table without parts."""
        if "{" not in schedule.table.place:
            return []
        nodes = by_node(self._client, [table for table in self._tables if "{" in table.place])
        return [table.keys.state for _, tables in nodes if schedule.table in tables for table in tables]
