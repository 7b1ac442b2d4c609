"""Own the judgement whether refreshing has come to a halt, from two round trips to Redis. Reads only.

Due rows alone say little: rows that workers never commit are claimed again each time their lease ends, and look as if
they were being worked on. So the sign is a row that waits too long, claimed or not, while nothing is committed.
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
"""Rows looked at for each table: those due first, and those whose lease ends first."""

AHEAD_S = 1.0
"""A time further in the future was noted before the clock of Redis stepped back, and says nothing."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether rows of a table wait, and whether any is committed."""

    table: str
    waiting_s: float
    """For how long the row that waits longest has been due, claimed or not; failing rows wait on purpose. Seconds."""
    silent_s: float | None
    """Seconds since the last commit; None: never, or before the clock of Redis stepped back."""
    paused_s: float | None = None
    """For how long the table has been paused, so that no row is said to wait; None: it is not. Seconds."""

    def is_stalled(self, max_overdue_s: float) -> bool:
        """Tell whether a row waits for longer than that and nothing was committed for as long."""
        is_silent = self.silent_s is None or self.silent_s > max_overdue_s
        return self.waiting_s > max_overdue_s and is_silent

    def describe(self) -> str:
        """Say it in a few words."""
        committed = "no commit is known" if self.silent_s is None else f"last commit {show_duration(self.silent_s)} ago"
        if self.paused_s is not None:
            return f"{self.table}: paused for {show_duration(self.paused_s)}, {committed}"
        waiting = f"a row has been due for {show_duration(self.waiting_s)}" if self.waiting_s else "no row waits"
        return f"{self.table}: {waiting}, {committed}"


def is_halted(tables: Sequence[Health], max_overdue_s: float) -> bool:
    """Tell whether rows of some table wait for longer than that, and nothing of any table was committed for as long.

    One table that stalls alone has a reason of its own, which no restart of the workers mends.
    """
    waiting_s = max((table.waiting_s for table in tables), default=0.0)
    silent_s = [table.silent_s for table in tables if table.silent_s is not None]
    return waiting_s > max_overdue_s and min(silent_s, default=waiting_s) > max_overdue_s


def default_max_overdue_s(settings: Settings) -> float:
    """Give the seconds a row may wait: a worker that dies holds its rows up for one lease, which is no halt."""
    return max(10.0, settings.lease_s)


def read_health(client: "redis.Redis", tables: Iterable[Table], lease_s: float) -> list[Health]:
    """Read the health of tables, in their order; two round trips for all of them."""
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
        # What waited because of a pause has waited since the end of it.
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
    """Tell for how long a row has been due; seconds, negative when it is not.

    The score of a row that may be claimed, since it is within a lease from now, is not when the row is due. Unless it
    is failing, it was to be refreshed within one delay of its last commit or change, whoever has claimed it since.
    """
    known = [time for time in (past(now, refreshed), past(now, changed)) if time is not None]
    if failure is not None or not delay or delay <= 0 or refreshed is None or not known or score > now + lease_s:
        return now - score
    return max(now - score, now - max(known) - delay)


def past(now: float, time: float | None) -> float | None:
    """Give a time of the past; None for one that lies in the future."""
    return time if time is not None and time <= now + AHEAD_S else None
