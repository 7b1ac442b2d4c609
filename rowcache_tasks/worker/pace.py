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

    def wait_s(self, rows: int, *, is_burst: bool) -> float:
        """Return the seconds until a batch is to be due. Raises redis.RedisError."""
        load, now = self._load(), time.monotonic()
        capacity = load.capacity
        rate = UNKNOWN if capacity is None else max(1.0, LEAST * capacity, SHARE * (capacity - load.demand))
        self._at_once = min(AT_ONCE, self._at_once + rate * (now - self._counted_at))
        self._counted_at = now
        if rows + is_burst * RESERVE <= self._at_once:
            self._at_once -= rows
            return 0.0
        begins_at = max(now, self._free_at)
        self._free_at = begins_at + rows / rate
        return begins_at - now
