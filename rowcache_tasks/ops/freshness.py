"""Freshness of tables: ages at percentiles, rows without a refresh; the promise of a table, its state and cause."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors.text import show_count, show_duration
from rowcache_tasks.ops.snapshot import Snapshot
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.row_state import AHEAD_S

QUANTILES = {"age_p50": 0.5, "age_p99": 0.99, "age_p999": 0.999, "age_max": 1.0}
"""Name of an age -> share of the refreshed rows that are not older."""
LABELS = ("age p50", "p99", "p99.9", "oldest")

State = Literal["kept", "at risk", "broken"]
RISK_SHARE = 0.1  # share of max_staleness for which rows or batches may wait
RISK_LATE = 0.75  # share of the rows that may be older by which this is a risk
MANY = 10  # rows that may be older; of fewer, one makes too much of a difference
MISSED_FOR_S = 3.0  # seconds for which a promise that was broken is at risk: a state that comes and goes is not kept


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


UNKNOWN = Freshness(dict.fromkeys(QUANTILES), 0)


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


@dataclass(frozen=True, slots=True)
class Promise:
    """The promise of one table at one moment."""

    max_staleness: float  # seconds
    target: float  # share of the rows that are to be refreshed within max_staleness, 0 to 1
    achieved: float | None  # share of the scheduled rows that are, at least; None: no row is scheduled
    state: State | None  # None: no row is scheduled
    cause: str  # why it is not kept; "" when it is

    hours: Sequence[Mapping[str, float]] = ()
    """Of a day: `hour` (Unix time of its beginning) and `achieved`, the mean of its seconds."""

    def describe(self) -> str:
        """Return a phrase for people; empty while no row is scheduled."""
        if self.achieved is None:
            return ""
        # Rounded down: 99.99 % of the rows is not all of them.
        share = int(self.achieved * 10_000) / 100
        within = f"{share:g} % of the rows within {show_duration(self.max_staleness)}, target {self.target * 100:g} %"
        return f"promise {self.state}: {within}" + (f": {self.cause}" if self.cause else "")


def judge(
    table: Table, found: Snapshot, freshness: Freshness, fault: str, oldest_batch_s: float | None
) -> Promise | None:
    """Return the promise of a table, None without one. `fault`: what the processes lack, "" if nothing.

    A row counts as late while its last accepted refresh is older than max_staleness, or unknown.
    """
    if table.max_staleness_s is None or table.target is None:
        return None
    hours, rows = read_hours(found), freshness.promised
    if not rows:
        return Promise(table.max_staleness_s, table.target, None, None, "", hours)
    achieved = freshness.within / rows
    cause = find_cause(table, found, freshness, fault, oldest_batch_s)
    if rows - freshness.maybe_within > allowed_rows(table, freshness):
        state: State = "broken"
        cause = cause or find_reason(table, found)
    else:
        cause = cause or find_risk(table, found, freshness)
        state = "at risk" if cause else "kept"
    return Promise(table.max_staleness_s, table.target, achieved, state, cause, hours)


def allowed_rows(table: Table, freshness: Freshness) -> int:
    """Return how many rows may be older than promised."""
    return int((1 - (table.target or 0.0)) * freshness.promised + 1e-6)


def find_cause(table: Table, found: Snapshot, freshness: Freshness, fault: str, oldest_batch_s: float | None) -> str:
    """Return what breaks the promise if it lasts; "" if nothing does."""
    max_staleness_s, allowed = table.max_staleness_s or 0.0, allowed_rows(table, freshness)
    wait_s, batch_s = RISK_SHARE * max_staleness_s, oldest_batch_s or 0.0
    causes = (
        (found.paused_s is not None, f"paused for {show_duration(found.paused_s or 0.0)}"),
        (bool(fault), fault),
        (found.failing > allowed, f"{show_count(found.failing, 'row')} failed when refreshed last"),
        (batch_s > wait_s, f"queue: a batch waits for {show_duration(batch_s)}: too few workers, or they hang"),
        (
            found.slow_s > wait_s and found.at - found.slow_at < max_staleness_s,
            f"slow SELECT: a read took {show_duration(found.slow_s)}",
        ),
        (found.overdue_s > wait_s and found.is_capped, "the cap max_rate holds rows back"),
        (
            found.overdue_s > wait_s and found.overdue > allowed,
            f"{show_count(found.overdue, 'row')} due and not claimed, the first for {show_duration(found.overdue_s)}",
        ),
        (found.clock_error_s > 0, f"the clock of Redis stepped back by {show_duration(found.clock_error_s)}"),
        (
            freshness.promised - found.scheduled > allowed,
            f"{show_count(freshness.promised - found.scheduled, 'row')} with a delay and no due time (rowcache doctor)",
        ),
        (
            freshness.never_refreshed > allowed,
            f"{show_count(freshness.never_refreshed, 'row')} never refreshed, new or failing",
        ),
    )
    return next((cause for is_true, cause in causes if is_true), "")


def find_risk(table: Table, found: Snapshot, freshness: Freshness) -> str:
    """Return why a promise is not called kept although it is not broken; "" if it is kept."""
    allowed = allowed_rows(table, freshness)
    late = freshness.promised - freshness.within
    if late > allowed:
        return "rows that readers have filled, and that are not scheduled, may be older"
    if allowed >= MANY and late > RISK_LATE * allowed:
        return f"{show_count(late, 'row')} older than promised, {allowed:,} may be"
    is_recent = found.missed_at is not None and abs(found.at - found.missed_at) < MISSED_FOR_S
    return f"broken within the last {show_duration(MISSED_FOR_S)}" if is_recent else ""


def find_reason(table: Table, found: Snapshot) -> str:
    """Return why a promise is broken when no part of the deployment has a fault."""
    if found.committed_at is None:
        return "no row was ever refreshed"
    if found.waiting_s > RISK_SHARE * (table.max_staleness_s or 0.0):
        return f"a row has waited for {show_duration(found.waiting_s)}: too few workers, or one has died with its batch"
    return "rows are due later than promised: scheduled before the promise (rowcache refresh), or after a longer delay"


def read_hours(found: Snapshot) -> list[dict[str, float]]:
    """Return the mean share of the rows that were within the promise, for each hour of a day that was looked at."""
    return [
        {"hour": hour * 3600, "achieved": max(0.0, 1 - found.beyond_s[hour] / looked_s)}
        for hour, looked_s in sorted(found.looked_s.items())
        if found.at - 86400 < hour * 3600 <= found.at and looked_s > 0
    ]
