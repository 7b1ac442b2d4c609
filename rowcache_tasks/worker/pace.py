"""Times at which changed rows are due, so that a burst makes no other row late."""

import time
from collections.abc import Callable

from rowcache_tasks.schedule.load import Load

SHARE = 0.4
"""Part of the capacity that the demand leaves free, for changed rows that are due at once."""
FIRST, MOST, LEAST_PART = 1 / 8, 1 / 2, 1 / 64
"""Parts of that for a burst: the first doubles each second up to the second; while rows are late it is halved, down to
the third, and then grows by that much each second."""
LATE = 600
"""Due rows of the table, of which some are late: batches are claimed when they are due."""
REST_S = 10.0  # so long after a burst, the next one begins with the first share
LEAST = 0.05
"""Part of the whole capacity that they get in any case."""
UNKNOWN = 500.0
"""Rows a second while the capacity is not measured."""
AT_ONCE = 500
"""Rows that may be due at once after a rest."""


class Pace:
    """Times for the changed rows of one table. A burst has them one batch after the other, other changes at once."""

    def __init__(self, load: Callable[[], Load], count_due: Callable[[], int]) -> None:
        self._load, self._count_due = load, count_due
        self._part, self._was_late, self._looked_at = FIRST, False, 0.0
        self._at_once, self._counted_at = float(AT_ONCE), time.monotonic()
        self._free_at = 0.0  # when the last batch of a burst is over
        self._rate, self._begins_at, self._next_at = UNKNOWN, 0.0, 0.0  # of the rows; 0: they are due at once

    @property
    def ahead_s(self) -> float:
        """Seconds until the last batch of a burst is over."""
        return self._free_at - time.monotonic()

    def begin(self, rows: int, *, is_burst: bool) -> None:
        """Decide when changed rows are to be due. Raises redis.RedisError."""
        load, now = self._load(), time.monotonic()
        if is_burst and now >= self._looked_at + 1:
            self._adapt(now)
        capacity = load.capacity
        rate = UNKNOWN if capacity is None else max(1.0, LEAST * capacity, SHARE * (capacity - load.demand))
        self._rate = rate * self._part if is_burst and capacity is not None else rate
        self._at_once = min(AT_ONCE, self._at_once + rate * (now - self._counted_at))
        self._counted_at = now
        is_at_once = not is_burst and rows <= self._at_once
        self._begins_at = self._next_at = 0.0 if is_at_once else max(now, self._free_at)

    def _adapt(self, now: float) -> None:
        """Look once a second whether the pace is too fast, as it is when the capacity is not what it was."""
        if now > max(self._looked_at, self._free_at) + REST_S:
            self._part, self._was_late = FIRST, False
        elif self._count_due() > LATE:
            self._part, self._was_late = max(self._part / 2, LEAST_PART), True
        else:
            self._part = min(self._part + LEAST_PART if self._was_late else 2 * self._part, MOST)
        self._looked_at = now

    def wait_s(self, rows: int) -> float:
        """Return the seconds until the next batch of them is to be due."""
        if not self._begins_at:
            return 0.0
        due_at, self._next_at = self._next_at, self._next_at + rows / self._rate
        return max(0.0, due_at - time.monotonic())

    def end(self, rows: int) -> None:
        """Count those that were made due: others are not scheduled, or due before."""
        if self._begins_at:
            self._free_at = self._begins_at + rows / self._rate
        else:
            self._at_once -= rows
