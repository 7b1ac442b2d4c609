"""Times at which changed rows are due, so that a burst makes no other row late."""

import time
from collections.abc import Callable

from rowcache_tasks.schedule.load import Load

SHARE = 0.4
"""Part of the capacity that the demand leaves free: for the rows of a burst, and once more for rows due at once."""
LEAST = 0.05
"""Part of the whole capacity that they get in any case."""
UNKNOWN = 500.0
"""Rows a second while the capacity is not measured."""
AT_ONCE = 500
"""Rows that may be due at once after a rest."""


class Pace:
    """Times for the changed rows of one table. A burst has them one batch after the other, other changes at once."""

    def __init__(self, load: Callable[[], Load]) -> None:
        self._load = load
        self._at_once, self._counted_at = float(AT_ONCE), time.monotonic()
        self._free_at = 0.0  # when the last batch of a burst is over
        self._rate, self._begins_at, self._next_at = UNKNOWN, 0.0, 0.0  # of the rows; 0: they are due at once

    def begin(self, rows: int, *, is_burst: bool) -> None:
        """Decide when changed rows are to be due. Raises redis.RedisError."""
        load, now = self._load(), time.monotonic()
        capacity = load.capacity
        self._rate = UNKNOWN if capacity is None else max(1.0, LEAST * capacity, SHARE * (capacity - load.demand))
        self._at_once = min(AT_ONCE, self._at_once + self._rate * (now - self._counted_at))
        self._counted_at = now
        is_at_once = not is_burst and rows <= self._at_once
        self._begins_at = self._next_at = 0.0 if is_at_once else max(now, self._free_at)

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
