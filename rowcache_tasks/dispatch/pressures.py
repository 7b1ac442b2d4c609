"""Back-pressure of all lists of sent batches: each part of a table has one, all other tables share one."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import redis

from rowcache_tasks.dispatch.backpressure import Backpressure
from rowcache_tasks.dispatch.limits import Limits
from rowcache_tasks.dispatch.sent_batches import SentBatches
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.servers import by_node

CLAIMS_ALIKE = 8  # claims of parts that cost about as much as one more batch


class Pressures:
    """Back-pressure by the key of the list."""

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
