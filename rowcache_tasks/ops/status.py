"""Snapshot of a table: counts, lateness, failures. Read only."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.row_id import decode_row_id

__all__ = ["Failure", "Snapshot", "parse_pause", "parse_time", "percentile", "read_failures", "read_snapshot"]

COUNTERS = ("claimed", "refreshed", "unchanged", "superseded", "dropped", "missing", "failed")
LATE = "late:"
LATE_CLASSES = range(400)
"""Up to 10^30 ms; other classes, which only a foreign client writes, are ignored."""
MAX_ERROR = 500
"""Characters of a recorded error."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of one table at one moment of the server's clock."""

    at: float
    """Unix time, seconds."""
    scheduled: int
    overdue: int
    """Rows that are due and not claimed."""
    overdue_s: float
    """Seconds since the first of them fell due."""
    failing: int
    """Rows whose last refresh failed or found nothing."""
    committed_at: float | None
    """When the last value was accepted; None: never."""
    paused_at: float | None
    """Unix time of the pause, seconds; None: not paused."""
    counters: Mapping[str, int]
    """The COUNTERS since the statistics began."""
    lateness: Mapping[int, int] = field(default_factory=dict)
    """Class -> how many rows were committed within 2^(class / 4) milliseconds of being due."""

    @property
    def committed(self) -> int:
        """Accepted refreshes, with a new value or not."""
        return self.counters["refreshed"] + self.counters["unchanged"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Last failure of a row."""

    row_id: str
    failures: int
    error: str
    at: float
    """Unix time, seconds."""


def read_snapshot(client: "redis.Redis", table: Table) -> Snapshot:
    """Read the state of a table; two round trips."""
    keys = table.keys
    seconds, microseconds = client.time()
    now = int(seconds) + int(microseconds) / 1e6
    pipeline = client.pipeline(transaction=False)
    pipeline.zcard(keys.schedule)
    pipeline.zcount(keys.schedule, "-inf", now)
    pipeline.zrange(keys.schedule, 0, 0, withscores=True)
    pipeline.hlen(keys.failures)
    pipeline.hgetall(keys.stats)
    pipeline.hmget(keys.state, "committed_at", "paused")
    scheduled, overdue, first, failing, raw, (committed_at, paused_at) = pipeline.execute()
    stats: dict[str, bytes] = {name.decode("utf-8", "replace"): value for name, value in raw.items()}
    late = {name.removeprefix(LATE): parse_count(count) for name, count in stats.items() if name.startswith(LATE)}
    return Snapshot(
        at=now,
        scheduled=scheduled,
        overdue=overdue,
        overdue_s=max(0.0, now - float(first[0][1])) if first else 0.0,
        failing=failing,
        committed_at=parse_time(committed_at),
        paused_at=parse_pause(paused_at),
        counters={name: parse_count(stats.get(name)) for name in COUNTERS},
        lateness={c: late[str(c)] for c in LATE_CLASSES if str(c) in late},
    )


def read_failures(client: "redis.Redis", table: Table, limit: int) -> list[Failure]:
    """Read up to `limit` failing rows, in no order."""
    found: Any = islice(client.hscan_iter(table.keys.failures, count=1000), limit)
    return [parse_failure(decode_row_id(row_id), record) for row_id, record in found]


def parse_failure(row_id: str, record: bytes) -> Failure:
    """Parse a record; one of a foreign client is quoted as it is."""
    try:
        fields = json.loads(record)
        error = str(fields["error"])[:MAX_ERROR]
        at = float(fields["at"])
        return Failure(row_id, int(fields["failures"]), error, at if math.isfinite(at) else 0.0)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return Failure(row_id, 0, f"unreadable record: {record[:80]!r}", 0.0)


def parse_count(value: bytes | None) -> int:
    """Parse a counter; 0 if it is not a number."""
    try:
        return int(value or 0)
    except ValueError:
        return 0


def parse_time(value: bytes | None) -> float | None:
    """Parse a time; None if it is not a finite number."""
    try:
        time = float("nan" if value is None else value)
    except ValueError:
        return None
    return time if math.isfinite(time) else None


def parse_pause(value: bytes | None) -> float | None:
    """Parse the time of a pause; None: not paused. Any number counts, as for dispatchers."""
    try:
        time = float("nope" if value is None else value)
    except ValueError:
        return None
    return time if math.isfinite(time) else 0.0


def percentile(before: Mapping[int, int], after: Mapping[int, int], share: float) -> float | None:
    """Return the lateness, in milliseconds, that `share` (0..1) of the commits between two snapshots did not exceed.

    It is the upper bound of a class; classes are 19 % apart. None without commits.
    """
    counts = {late: after[late] - before.get(late, 0) for late in sorted(after)}
    left = share * sum(counts.values())
    for late, count in counts.items():
        left -= count
        if count > 0 and left <= 0:
            return float(2 ** (late / 4))
    return None
