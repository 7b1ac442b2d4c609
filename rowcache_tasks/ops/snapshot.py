"""Snapshots of tables: counts, lateness, longest wait. Read only.

Due rows alone say little: rows that workers never commit are claimed again at the end of each lease. A table is stalled
when a row has waited too long, claimed or not, and nothing was committed for as long.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import redis

from rowcache_tasks.config.settings import Settings, Table
from rowcache_tasks.ops.failure import parse_failure
from rowcache_tasks.text import show_duration

COUNTERS = ("claimed", "refreshed", "unchanged", "superseded", "dropped", "missing", "failed")
LATE = "late:"
LATE_CLASSES = range(400)
"""Up to 10^30 ms; other classes, which only a foreign client writes, are ignored."""

SAMPLE = 100
"""Rows read of each table: the first in the schedule."""

AHEAD_S = 1.0
"""A time further in the future is from before a step back of the clock of Redis, and is ignored."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of one table at one moment of the server's clock."""

    table: str
    at: float
    """Unix time, seconds."""
    waiting_s: float
    """Seconds since the longest waiting row fell due, claimed or not; a failing row waits for its next try."""
    silent_s: float | None
    """Seconds since the last commit; None: never, or before a step back of the clock of Redis."""
    paused_at: float | None = None
    """Unix time of the pause, seconds, when no row counts as waiting; None: not paused."""
    scheduled: int = 0
    overdue: int = 0
    """Rows that are due and not claimed."""
    overdue_s: float = 0.0
    """Seconds since the first of them fell due."""
    failing: int = 0
    """Rows whose last refresh failed or found nothing."""
    error: str = ""
    """Reason of one of them, when one is among the first rows of the schedule."""
    committed_at: float | None = None
    """When the last value was accepted; None: never."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """The COUNTERS since the statistics began."""
    lateness: Mapping[int, int] = field(default_factory=dict)
    """Class -> how many rows were committed within 2^(class / 4) milliseconds of being due."""

    @property
    def committed(self) -> int:
        """Accepted refreshes, with a new value or not."""
        return self.counters["refreshed"] + self.counters["unchanged"]

    @property
    def failing_share(self) -> float:
        """Share of the scheduled rows that fail, 0 to 1."""
        return min(1.0, self.failing / self.scheduled) if self.scheduled else 0.0

    @property
    def paused_s(self) -> float | None:
        """Seconds since the pause; None: not paused."""
        return None if self.paused_at is None else max(0.0, self.at - self.paused_at)

    def is_stalled(self, max_overdue_s: float) -> bool:
        """Return whether a row has waited for longer, and nothing was committed for as long."""
        is_silent = self.silent_s is None or self.silent_s > max_overdue_s
        return self.waiting_s > max_overdue_s and is_silent

    def describe(self) -> str:
        """Return a phrase for people."""
        committed = "no commit is known" if self.silent_s is None else f"last commit {show_duration(self.silent_s)} ago"
        if self.paused_s is not None:
            return f"{self.table}: paused for {show_duration(self.paused_s)}, {committed}"
        waiting = f"a row has been due for {show_duration(self.waiting_s)}" if self.waiting_s else "no row waits"
        return f"{self.table}: {waiting}, {committed}"


def is_halted(tables: Sequence[Snapshot], max_overdue_s: float) -> bool:
    """Return whether rows of a table have waited for longer, and nothing of any table was committed for as long.

    A restart of the workers does not help a table that stalls alone.
    """
    waiting_s = max((table.waiting_s for table in tables), default=0.0)
    silent_s = [table.silent_s for table in tables if table.silent_s is not None]
    return waiting_s > max_overdue_s and min(silent_s, default=waiting_s) > max_overdue_s


def default_max_overdue_s(settings: Settings) -> float:
    """Return how many seconds a row may wait: one lease at least, as after the death of a worker."""
    return max(10.0, settings.lease_s)


def read_snapshots(client: "redis.Redis", tables: Iterable[Table], lease_s: float) -> list[Snapshot]:
    """Read the state of tables, in their order; two round trips in all."""
    tables = list(tables)
    pipeline = client.pipeline(transaction=False)
    pipeline.time()
    for table in tables:
        pipeline.zcard(table.keys.schedule)
        pipeline.zrange(table.keys.schedule, 0, SAMPLE - 1, withscores=True)
        pipeline.hlen(table.keys.failures)
        pipeline.hgetall(table.keys.stats)
        pipeline.hmget(table.keys.state, "committed_at", "paused", "resumed")
    (seconds, microseconds), *replies = pipeline.execute()
    now = int(seconds) + int(microseconds) / 1e6
    facts: list[Sequence[Any]] = [replies[start : start + 5] for start in range(0, len(replies), 5)]
    for table, (_, firsts, *_) in zip(tables, facts, strict=True):
        pipeline.zcount(table.keys.schedule, "-inf", now)
        if firsts:
            row_ids = [row_id for row_id, _ in firsts]
            for key in (table.keys.delay, table.keys.refreshed, table.keys.changed):
                pipeline.zmscore(key, row_ids)
            pipeline.hmget(table.keys.failures, row_ids)
    more = iter(pipeline.execute())
    return [
        make_snapshot(table.name, now, lease_s, found, next(more), list(islice(more, 4 if found[1] else 0)))
        for table, found in zip(tables, facts, strict=True)
    ]


def make_snapshot(
    table: str, now: float, lease_s: float, facts: Sequence[Any], overdue: int, sample: Sequence[Sequence[Any]]
) -> Snapshot:
    """Make a snapshot of the replies of Redis."""
    scheduled, firsts, failing, raw, (noted, paused, resumed) = facts
    rows = zip(firsts, *sample, strict=True) if firsts else ()
    waits = [wait_of(now, lease_s, score, *row) for (_, score), *row in rows]
    committed_at, resumed_at, paused_at = parse_time(noted), past(now, parse_time(resumed)), parse_pause(paused)
    is_known = past(now, committed_at) is not None
    # A row counts as waiting since the end of the last pause.
    longest_s = math.inf if resumed_at is None else max(0.0, now - resumed_at)
    stats: dict[str, bytes] = {name.decode("utf-8", "replace"): value for name, value in raw.items()}
    late = {name.removeprefix(LATE): parse_count(count) for name, count in stats.items() if name.startswith(LATE)}
    failures = [record for record in sample[3] if record] if sample else []
    return Snapshot(
        table=table,
        at=now,
        waiting_s=min(longest_s, max([0.0, *waits])) if paused_at is None else 0.0,
        silent_s=max(0.0, now - committed_at) if committed_at is not None and is_known else None,
        paused_at=paused_at,
        scheduled=scheduled,
        overdue=overdue,
        overdue_s=max(0.0, now - float(firsts[0][1])) if firsts else 0.0,
        failing=failing,
        error=parse_failure("", failures[0]).error if failures else "",
        committed_at=committed_at,
        counters={name: parse_count(stats.get(name)) for name in COUNTERS},
        lateness={c: late[str(c)] for c in LATE_CLASSES if str(c) in late},
    )


def wait_of(
    now: float,
    lease_s: float,
    score: float,
    delay: float | None,
    refreshed: float | None,
    changed: float | None,
    failure: bytes | None,
) -> float:
    """Return how long a row has been due; seconds, negative if it is not.

    A score within a lease from now may be the end of a lease instead of a due time. Then, unless it is failing, the row
    was due one delay after its last commit or change.
    """
    known = [time for time in (past(now, refreshed), past(now, changed)) if time is not None]
    if failure is not None or not delay or delay <= 0 or refreshed is None or not known or score > now + lease_s:
        return now - score
    return max(now - score, now - max(known) - delay)


def past(now: float, time: float | None) -> float | None:
    """Return a time of the past; None for one in the future."""
    return time if time is not None and time <= now + AHEAD_S else None


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
