"""Measurements: rates, lateness and ages of values that are read."""

import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import redis

from rowcache_tasks.demo.accounts import COUNT, DELAYS, TABLE, delay_of
from rowcache_tasks.ops.status import Snapshot, percentile, read_snapshot
from rowcache_tasks.reader import RowCache

__all__ = ["Ages", "Measurement", "Meter", "SampleReader"]

WINDOW_S = 5.0
"""Rates and percentiles are those of the last seconds."""
AGES_WINDOW_S = 10.0
PAUSE_S = 0.02
SINGLE_READS = 4
MANY = 40


@dataclass(frozen=True, slots=True)
class Ages:
    """Ages of the values read lately; seconds."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """State of the demo at one moment."""

    scheduled: int
    refreshed_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    overdue: int
    failing: int
    tps: float | None
    """Transactions of pgbench a second; None: it does not run."""
    rows_read_per_s: float
    ages: Mapping[int, Ages | None]
    """Interval -> ages; None: no value was read lately."""


class SampleReader:
    """Reader of random accounts at a steady pace, one by one and many at once."""

    def __init__(self, url: str) -> None:
        self._cache = RowCache(TABLE.name, url=url)
        self._ages: dict[int, deque[tuple[float, float]]] = {delay: deque() for delay in DELAYS}
        self.rows = 0
        """Rows asked for."""

    def read_until(self, deadline: float) -> None:
        """Read until a time of the monotonic clock."""
        while True:
            self._read()
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(PAUSE_S, left_s))

    def ages(self, delay: int) -> Ages | None:
        """Return the ages of accounts with this delay; None if no such value was read lately."""
        window = self._ages[delay]
        while window and window[0][0] < time.monotonic() - AGES_WINDOW_S:
            window.popleft()
        if not window:
            return None
        ages = sorted(age for _, age in window)
        return Ages(ages[len(ages) // 2], ages[len(ages) * 99 // 100], ages[-1])

    def _read(self) -> None:
        for _ in range(SINGLE_READS):
            aid = random.randint(1, COUNT)  # noqa: S311 - not a secret
            age = None if self._cache.get(aid) is None else self._cache.age(aid)
            if age is not None:
                self._ages[delay_of(aid)].append((time.monotonic(), age))
        self.rows += SINGLE_READS + len(self._cache.get_many(random.sample(range(1, COUNT + 1), MANY)))


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    snapshot: Snapshot
    rows: int


class Meter:
    """Differences between samples of the statistics."""

    def __init__(self, client: "redis.Redis", reader: SampleReader) -> None:
        self._client = client
        self._reader = reader
        self._first = self._take()
        self._samples = deque([self._first])

    def measure(self, tps: float | None) -> Measurement:
        """Measure the last seconds; two round trips."""
        now = self._take()
        while len(self._samples) > 1 and self._samples[1].at <= now.at - WINDOW_S:
            self._samples.popleft()
        then = self._samples[0]
        self._samples.append(now)
        return self._compare(then, now, tps)

    def total(self) -> Measurement:
        """Measure the whole time since the meter was made."""
        return self._compare(self._first, self._take(), None)

    def _take(self) -> _Sample:
        return _Sample(time.monotonic(), read_snapshot(self._client, TABLE), self._reader.rows)

    def _compare(self, then: _Sample, now: _Sample, tps: float | None) -> Measurement:
        elapsed_s = max(now.at - then.at, 1e-3)
        before, after = then.snapshot, now.snapshot
        return Measurement(
            scheduled=after.scheduled,
            refreshed_per_s=(after.committed - before.committed) / elapsed_s,
            p50_ms=percentile(before.lateness, after.lateness, 0.50),
            p99_ms=percentile(before.lateness, after.lateness, 0.99),
            overdue=after.overdue,
            failing=after.failing,
            tps=tps,
            rows_read_per_s=(now.rows - then.rows) / elapsed_s,
            ages={delay: self._reader.ages(delay) for delay in DELAYS},
        )
