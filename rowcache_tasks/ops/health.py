"""Health of tables: longest wait and last commit. Read only.

Due rows alone say little: rows that workers never commit are claimed again at the end of each lease. A table is stalled
when a row has waited too long, claimed or not, and nothing was committed for as long.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import redis

from rowcache_tasks.config.settings import Settings, Table
from rowcache_tasks.ops.status import parse_pause, parse_time
from rowcache_tasks.text import show_duration

__all__ = ["Health", "default_max_overdue_s", "is_halted", "read_health"]

SAMPLE = 100
"""Rows read of each table: the first in the schedule."""

AHEAD_S = 1.0
"""A time further in the future is from before a step back of the clock of Redis, and is ignored."""


@dataclass(frozen=True, slots=True)
class Health:
    """Longest wait and last commit of a table."""

    table: str
    waiting_s: float
    """Seconds since the longest waiting row fell due, claimed or not; a failing row waits for its next try."""
    silent_s: float | None
    """Seconds since the last commit; None: never, or before a step back of the clock of Redis."""
    paused_s: float | None = None
    """Seconds since the table was paused, when no row counts as waiting; None: not paused."""

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


def is_halted(tables: Sequence[Health], max_overdue_s: float) -> bool:
    """Return whether rows of a table have waited for longer, and nothing of any table was committed for as long.

    A restart of the workers does not help a table that stalls alone.
    """
    waiting_s = max((table.waiting_s for table in tables), default=0.0)
    silent_s = [table.silent_s for table in tables if table.silent_s is not None]
    return waiting_s > max_overdue_s and min(silent_s, default=waiting_s) > max_overdue_s


def default_max_overdue_s(settings: Settings) -> float:
    """Return how many seconds a row may wait: one lease at least, as after the death of a worker."""
    return max(10.0, settings.lease_s)


def read_health(client: "redis.Redis", tables: Iterable[Table], lease_s: float) -> list[Health]:
    """Read the health of tables, in their order; two round trips in all."""
    tables = list(tables)
    pipeline = client.pipeline(transaction=False)
    pipeline.time()
    for table in tables:
        pipeline.zrange(table.keys.schedule, 0, SAMPLE - 1, withscores=True)
        pipeline.hmget(table.keys.state, "committed_at", "paused", "resumed")
    (seconds, microseconds), *replies = pipeline.execute()
    now = int(seconds) + int(microseconds) / 1e6
    firsts: Sequence[Any] = replies[0::2]
    for table, first in zip(tables, firsts, strict=True):
        if first:
            row_ids = [row_id for row_id, _ in first]
            for key in (table.keys.delay, table.keys.refreshed, table.keys.changed):
                pipeline.zmscore(key, row_ids)
            pipeline.hmget(table.keys.failures, row_ids)
    facts = iter(pipeline.execute())
    health = []
    for table, first, (noted, paused, resumed) in zip(tables, firsts, replies[1::2], strict=True):
        rows = zip(first, *islice(facts, 4), strict=True) if first else ()
        waits = [wait_of(now, lease_s, score, *row) for (_, score), *row in rows]
        committed_at, resumed_at = past(now, parse_time(noted)), past(now, parse_time(resumed))
        paused_at = parse_pause(paused)
        silent_s = None if committed_at is None else max(0.0, now - committed_at)
        if paused_at is not None:
            health.append(Health(table.name, 0.0, silent_s, max(0.0, now - paused_at)))
            continue
        # A row counts as waiting since the end of the last pause.
        longest_s = math.inf if resumed_at is None else max(0.0, now - resumed_at)
        health.append(Health(table.name, min(longest_s, max([0.0, *waits])), silent_s))
    return health


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
