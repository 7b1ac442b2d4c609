"""Own what readers of the cache see: they read random accounts and note how old the values are."""

import random
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from rowcache_tasks.demo.account import COUNT, DELAYS, delay_of
from rowcache_tasks.reader import RowCache

PAUSE_S = 0.02
SINGLE_READS = 4
MANY = 40
WINDOW_S = 10.0
"""Ages are shown as of the last seconds."""


@dataclass(frozen=True, slots=True)
class Ages:
    """How old the values were that readers got, seconds."""

    p50: float
    p99: float
    max: float


class Reader:
    """Reads random accounts at a steady pace, one by one and many at once."""

    def __init__(self, cache: RowCache[dict[str, Any]]) -> None:
        self._cache = cache
        self._ages: dict[int, deque[tuple[float, float]]] = {delay: deque() for delay in DELAYS}
        self.rows = 0
        """Rows asked for."""
        self.hits = 0
        """Rows asked for that were in the cache."""

    def read_until(self, deadline: float) -> None:
        """Read until a time of the monotonic clock."""
        while True:
            self._read_one_by_one()
            self._read_many()
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(PAUSE_S, left_s))

    def ages(self, delay: int) -> Ages | None:
        """Summarise the ages of accounts with this delay; None when no such value was read lately."""
        window = self._ages[delay]
        while window and window[0][0] < time.monotonic() - WINDOW_S:
            window.popleft()
        if not window:
            return None
        ages = sorted(age for _, age in window)
        return Ages(ages[len(ages) // 2], ages[len(ages) * 99 // 100], ages[-1])

    def _read_one_by_one(self) -> None:
        for _ in range(SINGLE_READS):
            aid = random.randint(1, COUNT)  # noqa: S311 - no secret
            age = None if self._cache.get(aid) is None else self._cache.age(aid)
            self.rows += 1
            if age is not None:
                self.hits += 1
                self._ages[delay_of(aid)].append((time.monotonic(), age))

    def _read_many(self) -> None:
        found = self._cache.get_many(random.sample(range(1, COUNT + 1), MANY))
        self.rows += len(found)
        self.hits += sum(row is not None for row in found.values())
