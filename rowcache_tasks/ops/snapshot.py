"""Snapshots of tables: counts, lateness, longest wait. Read only.

Due rows alone say little: rows that workers never commit are claimed again at the end of each lease. A table is stalled
when a row has waited too long, claimed or not, and nothing was committed for as long.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors.text import show_duration
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.row_state import AHEAD_S, parse_failure

COUNTERS: Mapping[str, str] = {
    "claimed": "Rows claimed by dispatchers.",
    "refreshed": "Refreshes that wrote a new value.",
    "unchanged": "Refreshes that found the cached value.",
    "superseded": "Refreshes that were not written, as a newer one was.",
    "dropped": "Rows that were dropped from the cache.",
    "missing": "Refreshes that did not find the row in the database.",
    "failed": "Refreshes that failed.",
    "saved": "Refreshes that the shortest interval for all rows would have made, and adaptive ones did not.",
    "audited": "Rows that the task audit_table compared with the database.",
    "audit_wrong": "Those of them that were wrong.",
}
LATE = {late: b"late:%d" % late for late in range(400)}
"""Field of each class of lateness, up to 10^30 ms; others, which only a foreign client writes, are ignored."""

SLOW_FOR_S = 300.0
CAPPED_FOR_S = 5.0
STATE = (
    *("committed_at", "paused", "resumed", "capped_at", "slow_at", "slow_ms", "missed_at", "clock", "step", "read_s"),
    *("replica_at", "replica_lag_s"),
)
REPLICA_FOR_S = 60.0
HOURS = [f"hour:{hour}" for hour in range(24)]
SUMS = re.compile(r"([0-9]{1,9}) ([0-9]{1,15}\.[0-9]{6}) ([0-9]{1,15}\.[0-9]{6})")
SAMPLE = 100  # rows read of each table: the first in the schedule


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of one table at one moment of the server's clock."""

    table: str
    at: float  # Unix time, seconds
    waiting_s: float  # seconds since the longest waiting row fell due, claimed or not; a failing row: for its next try
    silent_s: float | None  # seconds since the last commit; None: never, or before a step back of the clock of Redis
    is_capped: bool = False  # whether the cap of the table, max_rate, has just held back rows that are due
    paused_at: float | None = None  # Unix time of the pause, seconds, when no row counts as waiting; None: not paused
    scheduled: int = 0
    overdue: int = 0  # rows that are due and not claimed
    overdue_s: float = 0.0  # seconds since the first of them fell due
    failing: int = 0  # rows whose last refresh failed or found nothing
    error: str = ""  # reason of one of them, when one is among the first rows of the schedule
    committed_at: float | None = None  # when the last value was accepted; None: never
    slow_s: float = 0.0  # how long a slow read of its rows took in the last five minutes; 0: none was slow
    slow_at: float = 0.0  # Unix time of the commit of that read
    looked_s: Mapping[int, float] = field(default_factory=dict)  # with a promise: hour since 1970 -> seconds looked at
    beyond_s: Mapping[int, float] = field(default_factory=dict)  # hour -> seconds of these that a mean row was older
    missed_at: float | None = None  # when a dispatcher found its promise broken last; None: never
    clock_error_s: float = 0.0  # by which a value may be older than its age says, after a step back of Redis' clock
    may_be_replica: bool = False  # whether its settings have "replica"
    replica_lag_s: float | None = None  # of the database that its rows are read from; infinite: unknown; None: none
    read_s: float = 0.0  # of a table with a promise: mean time from the beginning of a read to its commit, seconds
    counters: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))  # since these began
    lateness: Mapping[int, int] = field(default_factory=dict)  # class -> rows committed within 2^(class / 4) ms of due
    late_s: float | None = None  # sum of the lateness of all of them; None: not counted
    is_known: bool = True  # False: its server does not answer, and no figure is measured

    @property
    def committed(self) -> int:
        """Accepted refreshes, with a new value or not."""
        return self.counters["refreshed"] + self.counters["unchanged"]

    def rate_since(self, before: "Snapshot | None") -> float | None:
        """Return commits a second; None without a snapshot before, or if the statistics were reset since."""
        if before is None or self.at <= before.at or self.committed < before.committed:
            return None
        return (self.committed - before.committed) / (self.at - before.at)

    def unchanged_share_since(self, before: "Snapshot | None") -> float | None:
        """Return the share of the commits since then, or of all, that found the cached value; None without commits."""
        counted = before.counters if before else {}
        refreshed, unchanged = (self.counters[name] - counted.get(name, 0) for name in ("refreshed", "unchanged"))
        return unchanged / (refreshed + unchanged) if min(refreshed, unchanged) >= 0 < refreshed + unchanged else None

    def late_ms(self, before: "Snapshot | None", share: float) -> float | None:
        """Return the lateness that `share` (0..1) of the commits since then did not exceed; ms. None: no commit."""
        counted = before.lateness if before else {}
        counts = {late: count - counted.get(late, 0) for late, count in sorted(self.lateness.items())}
        left = share * sum(counts.values())
        for late, count in counts.items():
            left -= count
            if count > 0 and left <= 0:
                return float(2 ** (late / 4))
        return None

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
        return self.waiting_s > max_overdue_s and (self.silent_s is None or self.silent_s > max_overdue_s)

    def describe(self) -> str:
        """Return a phrase for people."""
        committed = "no commit is known" if self.silent_s is None else f"last commit {show_duration(self.silent_s)} ago"
        if self.paused_s is not None:
            return f"{self.table}: paused for {show_duration(self.paused_s)}, {committed}"
        nothing = "no row waits" if self.is_known else "its server does not answer"
        waiting = f"a row has been due for {show_duration(self.waiting_s)}" if self.waiting_s else nothing
        return f"{self.table}: {waiting}, {committed}"


def is_halted(tables: Sequence[Snapshot], max_overdue_s: float) -> bool:
    """Return whether rows have waited for longer, and nothing of any table was committed for as long."""
    waiting_s = max((table.waiting_s for table in tables), default=0.0)
    silent_s = [table.silent_s for table in tables if table.silent_s is not None]
    return waiting_s > max_overdue_s and min(silent_s, default=waiting_s) > max_overdue_s


def read_snapshots(client: "redis.Redis", tables: Sequence[Table], lease_s: float) -> list[Snapshot]:
    """Read the state of tables, in their order; two round trips in all."""
    pipeline = client.pipeline(transaction=False)
    pipeline.time()
    for table in tables:
        pipeline.zcard(table.keys.schedule)
        pipeline.zrange(table.keys.schedule, 0, SAMPLE - 1, withscores=True)
        pipeline.hlen(table.keys.failures)
        pipeline.hgetall(table.keys.stats)
        pipeline.hmget(table.keys.state, *STATE, *HOURS)
    (seconds, microseconds), *replies = pipeline.execute()
    now, facts = int(seconds) + int(microseconds) / 1e6, list(cut(replies, 5))
    for table, (_, firsts, *_) in zip(tables, facts, strict=True):
        row_ids = [row_id for row_id, _ in firsts] or [b""]
        pipeline.zcount(table.keys.schedule, "-inf", now)
        for key in (table.keys.delay, table.keys.refreshed, table.keys.changed):
            pipeline.zmscore(key, row_ids)
        pipeline.hmget(table.keys.failures, row_ids)
    more = cut(pipeline.execute(), 5)
    return [
        make_snapshot(table, now, lease_s, found, *rest) for table, found, rest in zip(tables, facts, more, strict=True)
    ]


def make_snapshot(
    table: Table, now: float, lease_s: float, facts: Sequence[Any], overdue: int, *sample: Sequence[Any]
) -> Snapshot:
    """Make a snapshot of the replies of Redis. `sample`: delay, refresh, change and failure of the first rows."""
    scheduled, firsts, failing, stats, state = facts
    committed, paused, resumed, capped, slow_at, slow_ms, missed, clock, step, read, replica, lag = state[: len(STATE)]
    longest_delay_s = table.max_staleness_s or math.inf
    waits = [
        wait_of(now, lease_s, score, min(delay or 0.0, longest_delay_s), *row)
        for (_, score), delay, *row in zip(firsts, *sample, strict=False)
    ]
    committed_at, resumed_at, paused_at = parse_time(committed), past(now, parse_time(resumed)), parse_time(paused, 0.0)
    if table.is_left:  # closed for good: its rows wait until they are moved
        paused_at = None
    # A row counts as waiting since the end of the last pause.
    longest_s = math.inf if resumed_at is None else max(0.0, now - resumed_at)
    failures = filter(None, sample[3])
    hours = [sums for text in state[len(STATE) :] if (sums := SUMS.fullmatch((text or b"").decode(errors="replace")))]
    return Snapshot(
        table=table.name,
        at=now,
        waiting_s=min(longest_s, max([0.0, *waits])) if paused_at is None else 0.0,
        silent_s=None if (known_at := past(now, committed_at)) is None else max(0.0, now - known_at),
        is_capped=abs(now - (parse_time(capped) or 0.0)) <= CAPPED_FOR_S,
        paused_at=paused_at,
        scheduled=scheduled,
        overdue=overdue,
        overdue_s=max(0.0, now - float(firsts[0][1])) if firsts else 0.0,
        failing=failing,
        error=next((parse_failure("", record).error for record in failures), ""),
        committed_at=committed_at,
        slow_at=parse_time(slow_at) or 0.0,
        slow_s=parse_count(slow_ms) / 1000 if now - (parse_time(slow_at) or 0.0) < SLOW_FOR_S else 0.0,
        looked_s={int(hour[1]): float(hour[2]) for hour in hours},
        beyond_s={int(hour[1]): float(hour[3]) for hour in hours},
        missed_at=parse_time(missed),
        clock_error_s=clock_error(now, clock, step, table.max_staleness_s or 0.0),
        read_s=parse_time(read, 0.0) or 0.0,
        may_be_replica=table.replica,
        replica_lag_s=None if now - (parse_time(replica) or 0.0) > REPLICA_FOR_S else parse_time(lag, math.inf),
        counters={name: parse_count(stats.get(name.encode())) for name in COUNTERS},
        lateness={late: parse_count(stats[name]) for late, name in LATE.items() if name in stats},
        late_s=parse_count(stats[b"late_us"]) / 1e6 if b"late_us" in stats else None,
    )


def wait_of(
    now: float, lease_s: float, score: float, delay: float, refreshed: float | None, changed: float | None, failure: Any
) -> float:
    """Return how long a row has been due; seconds, negative if it is not.

    A score within a lease from now may be the end of a lease instead of a due time. Then, unless it is failing, the row
    was due one delay after its last commit or change.
    """
    known = [time for time in (past(now, refreshed), past(now, changed)) if time is not None]
    if failure is not None or delay <= 0 or refreshed is None or not known or score > now + lease_s:
        return now - score
    return max(now - score, now - max(known) - delay)


def clock_error(now: float, clock: Any, step: Any, max_staleness_s: float) -> float:
    """Return by how much ages are too low: after a step of the last max_staleness_s, and by one that nobody noted."""
    error_s = max(0.0, (parse_time(clock) or 0.0) - now)
    stepped_at, stepped_s = [*map(parse_time, (step or b"").split()), None, None][:2]
    if stepped_at is None or stepped_s is None or now > stepped_at + stepped_s + max_staleness_s:
        return error_s
    return error_s + stepped_s


def past(now: float, time: float | None) -> float | None:
    """Return a time of the past; None for one in the future."""
    return time if time is not None and time <= now + AHEAD_S else None


def parse_count(value: bytes | None) -> int:
    """Parse a counter; 0 if it is not a number of 64 bits, as all that Redis counts."""
    try:
        count = int(value or 0)
    except ValueError:
        return 0
    return count if abs(count) < 2**63 else 0


def parse_time(value: Any, otherwise: float | None = None) -> float | None:
    """Parse a time; None if it is no number, `otherwise` if it is not finite."""
    try:
        time = float(value)
    except (TypeError, ValueError):
        return None
    return time if math.isfinite(time) else otherwise
