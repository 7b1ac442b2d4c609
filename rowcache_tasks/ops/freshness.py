"""Freshness of tables: ages of values at percentiles, rows without a refresh. Read only.

`refreshed:` is sorted by the time of the last accepted commit, so an age at a percentile is one ZRANGE by rank:
O(log n). A row that was claimed and not refreshed has an entry too, the fence of its first claim. Until another row is
committed, such entries are the only ones after `committed_at`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors.text import show_count, show_duration
from rowcache_tasks.ops.snapshot import AHEAD_S, Snapshot, parse_time
from rowcache_tasks.schedule.rows import cut

QUANTILES = {"age_p50": 0.5, "age_p99": 0.99, "age_p999": 0.999, "age_max": 1.0}
"""Name of an age -> share of the refreshed rows that are not older."""
LABELS = ("age p50", "p99", "p99.9", "oldest")
COMMITTED = ("committed_at", "filled_at")
"""Fields of `state:`: times of the last commit and of the last fill."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """Ages of the values of one table."""

    ages: Mapping[str, float | None]
    """The QUANTILES: seconds; None: no row is refreshed."""
    never_refreshed: int
    """Scheduled rows without an accepted refresh, or with one from before a step back of the clock of Redis."""

    def describe(self) -> str:
        """Return a phrase for people; empty for a table without rows."""
        pairs = zip(LABELS, self.ages.values(), strict=True)
        known = [f"{label} {show_duration(age)}" for label, age in pairs if age is not None]
        never = [f"{show_count(self.never_refreshed, 'row')} never refreshed"] if self.never_refreshed else []
        return ", ".join([*known, *never])


def read_freshness(
    client: "redis.Redis", tables: Sequence[Table], snapshots: Mapping[str, Snapshot]
) -> dict[str, Freshness]:
    """Read the ages of tables whose snapshots were just read; two round trips in all."""
    pipeline = client.pipeline(transaction=True)
    lasts = [last_of(snapshots[table.name]) for table in tables]
    for table, last in zip(tables, lasts, strict=True):
        pipeline.zcard(table.keys.schedule)
        pipeline.zcard(table.keys.refreshed)
        pipeline.zcount(table.keys.refreshed, f"({snapshots[table.name].at + AHEAD_S!r}", "+inf")
        pipeline.zcount(table.keys.refreshed, f"({last!r}", "+inf")
        pipeline.hmget(table.keys.state, COMMITTED)
    sizes: list[tuple[int, int]] = []
    for last, (scheduled, entries, ahead, after, times) in zip(lasts, cut(pipeline.execute(), 5), strict=True):
        # Entries after a last commit that is not the last any more may be commits.
        is_last = all((parse_time(time) or -math.inf) <= last for time in times)
        refreshed = entries - max(ahead, after if is_last else 0)
        sizes.append((refreshed, max(0, scheduled - refreshed)))
    pipeline = client.pipeline(transaction=False)
    pipeline.time()
    for table, (refreshed, _) in zip(tables, sizes, strict=True):
        for share in QUANTILES.values():
            rank = refreshed - max(1, math.ceil(share * refreshed))
            # No member has the rank of an empty table.
            first, last_rank = (rank, rank) if refreshed else (1, 0)
            pipeline.zrange(table.keys.refreshed, first, last_rank, withscores=True)
    (seconds, microseconds), *found = pipeline.execute()
    now = int(seconds) + int(microseconds) / 1e6
    ages = cut((max(0.0, now - float(row[0][1])) if row else None for row in found), len(QUANTILES))
    return {
        table.name: Freshness(dict(zip(QUANTILES, four, strict=True)), never)
        for table, four, (_, never) in zip(tables, ages, sizes, strict=True)
    }


def last_of(snapshot: Snapshot) -> float:
    """Return the time after which no entry of `refreshed:` is a commit; infinite when that is not known."""
    if snapshot.counters["filled"]:
        return math.inf  # a fill writes an entry, and not committed_at
    return -math.inf if snapshot.committed_at is None else snapshot.committed_at
