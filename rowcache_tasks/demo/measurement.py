"""Measurements: rates, lateness and ages of values that are read."""

import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import redis

from rowcache_tasks.demo.accounts import COUNT, DELAYS, TABLE, delay_of
from rowcache_tasks.ops.snapshot import Snapshot, read_snapshots
from rowcache_tasks.reader import RowCache

SAMPLES = 10
"""Rates and percentiles are those between the first and the last of so many measurements."""
AGES_WINDOW_S = 10.0
PAUSE_S = 0.02
SINGLE_READS = 4
MANY = 40


class Ages(NamedTuple):
    """Ages of the values read lately; seconds."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """State of the demo at one moment."""

    snapshot: Snapshot
    refreshed_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    rows_read_per_s: float
    tps: float | None
    """Transactions of pgbench a second; None: it does not run."""
    ages: Mapping[int, Ages | None]
    """Interval -> ages; None: no value was read lately."""


class SampleReader:
    """Reader of random accounts at a steady pace, one by one and many at once."""

    def __init__(self, url: str) -> None:
        self._cache = RowCache(TABLE.name, url=url)
        self._ages: deque[tuple[float, int, float]] = deque(maxlen=5000)
        self.rows = 0
        """Rows asked for."""

    def read_for(self, seconds: float) -> None:
        """Read for a while, at least once."""
        deadline = time.monotonic() + seconds
        self._read()
        while (left_s := deadline - time.monotonic()) > 0:
            time.sleep(min(PAUSE_S, left_s))
            self._read()

    def ages(self, delay: int) -> Ages | None:
        """Return the ages of accounts with this delay; None if no such value was read lately."""
        since = time.monotonic() - AGES_WINDOW_S
        ages = sorted(age for at, each, age in self._ages if at > since and each == delay)
        return Ages(ages[len(ages) // 2], ages[len(ages) * 99 // 100], ages[-1]) if ages else None

    def _read(self) -> None:
        for _ in range(SINGLE_READS):
            aid = random.randint(1, COUNT)  # noqa: S311 - not a secret
            age = None if self._cache.get(aid) is None else self._cache.age(aid)
            if age is not None:
                self._ages.append((time.monotonic(), delay_of(aid), age))
        self.rows += SINGLE_READS + len(self._cache.get_many(random.sample(range(1, COUNT + 1), MANY)))


class Meter:
    """Differences between samples of the statistics."""

    def __init__(self, client: "redis.Redis", reader: SampleReader) -> None:
        self._client = client
        self._reader = reader
        self._first = self._take()
        self._samples = deque([self._first], maxlen=SAMPLES)

    def measure(self, tps: float | None) -> Measurement:
        """Measure the time since the oldest kept sample; two round trips."""
        then = self._samples[0]
        self._samples.append(self._take())
        return self._compare(then, tps)

    def total(self) -> Measurement:
        """Measure the whole time since the meter was made."""
        self._samples.append(self._take())
        return self._compare(self._first, None)

    def _take(self) -> tuple[Snapshot, int]:
        return read_snapshots(self._client, [TABLE], lease_s=0)[0], self._reader.rows

    def _compare(self, then: tuple[Snapshot, int], tps: float | None) -> Measurement:
        (before, rows_before), (after, rows_after) = then, self._samples[-1]
        elapsed_s = max(after.at - before.at, 1e-3)
        return Measurement(
            snapshot=after,
            refreshed_per_s=(after.committed - before.committed) / elapsed_s,
            p50_ms=after.late_ms(before, 0.50),
            p99_ms=after.late_ms(before, 0.99),
            rows_read_per_s=(rows_after - rows_before) / elapsed_s,
            tps=tps,
            ages={delay: self._reader.ages(delay) for delay in DELAYS},
        )
