"""Freshness of tables: ages at percentiles, rows without a refresh."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors.text import show_count, show_duration
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.row_state import AHEAD_S

QUANTILES = {"age_p50": 0.5, "age_p99": 0.99, "age_p999": 0.999, "age_max": 1.0}
"""Name of an age -> share of the refreshed rows that are not older."""
LABELS = ("age p50", "p99", "p99.9", "oldest")


@dataclass(frozen=True, slots=True)
class Freshness:
    """Ages of the values of one table."""

    ages: Mapping[str, float | None]  # the QUANTILES: seconds; None: no row is refreshed
    never_refreshed: int
    """Scheduled rows without an accepted refresh, or with one from before a step back of the clock of Redis."""
    promised: int = 0  # rows with a delay
    within: int = 0  # those that were certainly refreshed within max_staleness
    maybe_within: int = 0  # those that were refreshed within it, or are not if rows that readers have filled are

    def describe(self) -> str:
        """Return a phrase for people; empty for a table without rows."""
        pairs = zip(LABELS, self.ages.values(), strict=True)
        known = [f"{label} {show_duration(age)}" for label, age in pairs if age is not None]
        never = [f"{show_count(self.never_refreshed, 'row')} never refreshed"] if self.never_refreshed else []
        return ", ".join([*known, *never])


def read_freshness(
    client: "redis.Redis", tables: Sequence[Table], now: float, errors: Mapping[str, float], *, is_atomic: bool = True
) -> dict[str, Freshness]:
    """Read the ages of tables; two round trips. `errors`: how much older each may be. Of a cluster not atomic."""
    pipeline = client.pipeline(transaction=is_atomic)
    for table in tables:
        error_s = errors[table.name]
        since = now - (table.max_staleness_s or 0.0) + error_s
        pipeline.zcard(table.keys.schedule)
        pipeline.zcard(table.keys.delay)
        pipeline.zcount(table.keys.refreshed, "-inf", now + AHEAD_S)
        pipeline.zcount(table.keys.refreshed, since, now + max(AHEAD_S, error_s))
    sizes = list(cut(pipeline.execute(), 4))
    pipeline = client.pipeline(transaction=False)
    pipeline.time()
    for table, (_, _, refreshed, _) in zip(tables, sizes, strict=True):
        for share in QUANTILES.values():
            rank = refreshed - max(1, math.ceil(share * refreshed))
            # No member has the rank of an empty table.
            first, last = (rank, rank) if refreshed else (1, 0)
            pipeline.zrange(table.keys.refreshed, first, last, withscores=True)
    (seconds, microseconds), *found = pipeline.execute()
    read_at = int(seconds) + int(microseconds) / 1e6
    ages = cut((max(0.0, read_at - float(row[0][1])) if row else None for row in found), len(QUANTILES))
    return {
        table.name: Freshness(
            dict(zip(QUANTILES, four, strict=True)),
            max(0, scheduled - refreshed),
            promised,
            min(promised, max(0, within - max(0, scheduled - promised))),
            min(promised, within),
        )
        for table, four, (scheduled, promised, refreshed, within) in zip(tables, ages, sizes, strict=True)
    }
