"""Measurements: rates, lateness and ages of values that are read."""

import random
import time
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import redis

from demo.accounts import COUNT, DELAYS, TABLE, delay_of
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


class Sample(NamedTuple):
    """State of the table, and the rows asked for since the start."""

    table: Snapshot
    rows_read: int


class Measurement(NamedTuple):
    """Change of the demo between two samples."""

    before: Sample
    now: Sample
    ages: Mapping[int, Ages | None]
    """Interval -> ages; None: no value was read lately."""

    @property
    def refreshed_per_s(self) -> float:
        """Accepted refreshes a second."""
        return self.now.table.rate_since(self.before.table) or 0.0

    @property
    def rows_read_per_s(self) -> float:
        """Rows asked for a second."""
        return (self.now.rows_read - self.before.rows_read) / max(self.now.table.at - self.before.table.at, 1e-3)

    def late_ms(self, share: float) -> float | None:
        """Return the lateness that `share` of the refreshes did not exceed; None without one."""
        return self.now.table.late_ms(self.before.table, share)


class SampleReader:
    """Reader of random accounts at a steady pace, one by one and many at once."""

    def __init__(self, url: str) -> None:
        self._cache = RowCache(TABLE.name, url=url, namespace=TABLE.namespace)
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
            if (row := self._cache.get_with_age(aid)) and row.age is not None:
                self._ages.append((time.monotonic(), delay_of(aid), row.age))
        self.rows += SINGLE_READS + len(self._cache.get_many(random.sample(range(1, COUNT + 1), MANY)))


class Meter:
    """Differences between samples."""

    def __init__(self, client: "redis.Redis", reader: SampleReader) -> None:
        self._client = client
        self._reader = reader
        self.restart()

    def restart(self) -> None:
        """Forget all samples."""
        self.first = self._take()
        self._samples = deque([self.first], maxlen=SAMPLES)

    def measure(self, since: Sample | None = None) -> Measurement:
        """Measure the time since a sample, by default the oldest kept one; two round trips."""
        before = since or self._samples[0]
        self._samples.append(self._take())
        return Measurement(before, self._samples[-1], {delay: self._reader.ages(delay) for delay in DELAYS})

    def _take(self) -> Sample:
        return Sample(read_snapshots(self._client, [TABLE], lease_s=0)[0], self._reader.rows)
