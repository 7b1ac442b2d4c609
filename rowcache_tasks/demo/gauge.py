"""Own the figures that are shown: what the statistics say of the last seconds. Knows nothing of how they look."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import redis

from rowcache_tasks.demo.account import DELAYS, TABLE
from rowcache_tasks.demo.reader import Ages, Reader
from rowcache_tasks.ops.status import Snapshot, percentile, read_snapshot

WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The state of the demo at one moment; rates and percentiles are those of the last seconds."""

    scheduled: int
    refreshed_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    overdue: int
    failing: int
    tps: float | None
    """Transactions of pgbench in a second; None: it does not run."""
    rows_read_per_s: float
    hit_share: float | None
    ages: Mapping[int, Ages | None]
    """For each interval, how old the values were that readers got."""


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    snapshot: Snapshot
    rows: int
    hits: int


class Gauge:
    """Takes samples, and gives the difference to the one a few seconds ago."""

    def __init__(self, client: "redis.Redis", reader: Reader) -> None:
        self._client = client
        self._reader = reader
        self._samples = deque([self._take()])
        self._first = self._samples[0]

    def read(self, tps: float | None) -> Reading:
        """Take a sample; two round trips."""
        now = self._take()
        while len(self._samples) > 1 and self._samples[1].at <= now.at - WINDOW_S:
            self._samples.popleft()
        then = self._samples[0]
        self._samples.append(now)
        return self._compare(then, now, tps)

    def total(self) -> Reading:
        """Give the figures of the whole time since the gauge was made."""
        return self._compare(self._first, self._take(), None)

    def _take(self) -> _Sample:
        snapshot = read_snapshot(self._client, TABLE)
        return _Sample(time.monotonic(), snapshot, self._reader.rows, self._reader.hits)

    def _compare(self, then: _Sample, now: _Sample, tps: float | None) -> Reading:
        elapsed_s = max(now.at - then.at, 1e-3)
        before, after = then.snapshot, now.snapshot
        rows = now.rows - then.rows
        return Reading(
            scheduled=after.scheduled,
            refreshed_per_s=(after.committed - before.committed) / elapsed_s,
            p50_ms=percentile(before.lateness, after.lateness, 0.50),
            p99_ms=percentile(before.lateness, after.lateness, 0.99),
            overdue=after.overdue,
            failing=after.failing,
            tps=tps,
            rows_read_per_s=rows / elapsed_s,
            hit_share=(now.hits - then.hits) / rows if rows else None,
            ages={delay: self._reader.ages(delay) for delay in DELAYS},
        )
