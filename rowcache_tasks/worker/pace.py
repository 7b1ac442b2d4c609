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
RESERVE = 200
"""Rows among these that a burst leaves to others."""


class Pace:
    """Times for the changed rows of one table. A burst has them one batch after the other, other changes at once."""

    def __init__(self, load: Callable[[], Load]) -> None:
        self._load = load
        self._at_once, self._counted_at = float(AT_ONCE), time.monotonic()
        self._free_at = 0.0  # when the last batch of a burst is over
        self._rate, self._begins_at = UNKNOWN, 0.0  # of the batch; 0: it is due at once

    def wait_s(self, rows: int, *, is_burst: bool) -> float:
        """Return the seconds until a batch is to be due. Raises redis.RedisError."""
        load, now = self._load(), time.monotonic()
        capacity = load.capacity
        self._rate = UNKNOWN if capacity is None else max(1.0, LEAST * capacity, SHARE * (capacity - load.demand))
        self._at_once = min(AT_ONCE, self._at_once + self._rate * (now - self._counted_at))
        self._counted_at = now
        is_at_once = rows + is_burst * RESERVE <= self._at_once
        self._begins_at = 0.0 if is_at_once else max(now, self._free_at)
        return max(0.0, self._begins_at - now)

    def count(self, rows: int) -> None:
        """Count the rows of the batch that were made due: others are not scheduled, or due before."""
        if self._begins_at:
            self._free_at = self._begins_at + rows / self._rate
        else:
            self._at_once -= rows
