"""Promise of a table: share of its rows within max_staleness, state and cause."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors.text import show_count, show_duration
from rowcache_tasks.ops.freshness import Freshness
from rowcache_tasks.ops.snapshot import Snapshot

State = Literal["kept", "at risk", "broken"]
SUMS = re.compile(r"([0-9]{1,9}) ([0-9]{1,15}\.[0-9]{6}) ([0-9]{1,15}\.[0-9]{6})")
RISK_SHARE = 0.25
"""Share of max_staleness for which rows or batches may wait."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The promise of one table at one moment."""

    max_staleness: float
    """Seconds."""
    target: float
    """Share of the rows that are to be refreshed within max_staleness, 0 to 1."""
    achieved: float | None
    """Share of the scheduled rows that are; None: no row is scheduled."""
    state: State | None
    """None: no row is scheduled."""
    cause: str
    """Why it is not kept; "" when it is."""

    hours: Sequence[Mapping[str, float]] = ()
    """Of a day: `hour` (Unix time of its beginning) and `achieved`, of the values that were replaced in it."""

    def as_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)

    def describe(self) -> str:
        """Return a phrase for people; empty while no row is scheduled."""
        if self.achieved is None:
            return ""
        # Rounded down: 99.99 % of the rows is not all of them.
        share = int(self.achieved * 10_000) / 100
        within = f"{share:g} % of the rows within {show_duration(self.max_staleness)}, target {self.target * 100:g} %"
        return f"promise {self.state}: {within}" + (f": {self.cause}" if self.cause else "")


def judge(
    table: Table, found: Snapshot, freshness: Freshness, dispatchers: int, workers: int, oldest_batch_s: float | None
) -> Promise | None:
    """Return the promise of a table, None without one.

    `dispatchers`, `workers`: those that refresh the table. A row counts as late while its last accepted refresh is
    older than max_staleness, or unknown.
    """
    if table.max_staleness_s is None or table.target is None:
        return None
    hours = read_hours(found.hours, found.at)
    if not found.scheduled or freshness.within is None:
        return Promise(table.max_staleness_s, table.target, None, None, "", hours)
    achieved = min(1.0, freshness.within / found.scheduled)
    cause = find_cause(table, found, dispatchers, workers, oldest_batch_s)
    state: State = "broken" if achieved < table.target else "at risk" if cause else "kept"
    reason = cause or ("" if state == "kept" else late(found))
    return Promise(table.max_staleness_s, table.target, achieved, state, reason, hours)


def find_cause(table: Table, found: Snapshot, dispatchers: int, workers: int, oldest_batch_s: float | None) -> str:
    """Return what will break the promise if it lasts; "" if nothing does."""
    max_staleness_s, allowed = table.max_staleness_s or 0.0, 1 - (table.target or 0.0)
    wait_s = RISK_SHARE * max_staleness_s
    batch_s = oldest_batch_s or 0.0
    causes = (
        (found.paused_s is not None, f"paused for {show_duration(found.paused_s or 0.0)}"),
        (not dispatchers, "no dispatcher is alive"),
        (not workers, "no worker is alive"),
        (found.failing_share > allowed, f"{show_count(found.failing, 'row')} failed when refreshed last"),
        (batch_s > wait_s, f"queue: a batch waits for {show_duration(batch_s)}: too few workers, or they hang"),
        (
            found.slow_s > wait_s and found.at - found.slow_at < max_staleness_s,
            f"slow SELECT: a read took {show_duration(found.slow_s)}",
        ),
        (found.overdue_s > wait_s and found.is_capped, "the cap max_rate holds rows back"),
        (
            found.overdue_s > wait_s and found.overdue > allowed * found.scheduled,
            f"{show_count(found.overdue, 'row')} due and not claimed, the first for {show_duration(found.overdue_s)}",
        ),
    )
    return next((cause for is_true, cause in causes if is_true), "")


def read_hours(texts: Sequence[str], now: float) -> list[dict[str, float]]:
    """Return the share of the time for which values were within the promise, for each hour of a day with commits.

    `texts`: hour since 1970, seconds for which values were there, seconds of these beyond the promise.
    """
    hours = {}
    for text in texts:
        found = SUMS.fullmatch(text)
        if found and now - 86400 < int(found[1]) * 3600 <= now and (aged_s := float(found[2])) > 0:
            hours[int(found[1]) * 3600] = max(0.0, 1 - float(found[3]) / aged_s)
    return [{"hour": hour, "achieved": achieved} for hour, achieved in sorted(hours.items())]


def late(found: Snapshot) -> str:
    """Return the cause when no part of the deployment has one."""
    if found.committed_at is None:
        return "no row was ever refreshed"
    return "rows are refreshed later than promised: too few workers, or delays longer than max_staleness"
