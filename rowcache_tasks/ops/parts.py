"""Tables with partitions as a whole: counts add up, waits and ages are the greatest. Read only."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.ops.freshness import Freshness, read_freshness
from rowcache_tasks.ops.promise import SUMS
from rowcache_tasks.ops.snapshot import COUNTERS, Snapshot, read_snapshots
from rowcache_tasks.schedule.servers import by_node


@dataclass(slots=True)
class Reading:
    """State of all tables."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    freshness: dict[str, Freshness] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)
    """Server that does not answer -> the reason. Its parts are left out."""


def read_tables(client: "redis.Redis", tables: Sequence[Table], lease_s: float) -> Reading:
    """Read the state of tables, by server. Raises the error of the connection if no server answers."""
    reading, found = Reading(), dict[str, list[tuple[Snapshot, Freshness]]]()
    last: Exception | None = None
    for node, parts in by_node(client, [part for table in tables for part in table.parts]):
        try:
            with node as server:
                labelled = [replace(part, name=part.label) for part in parts]
                asked = time.monotonic()
                snapshots = read_snapshots(server, labelled, lease_s)
                errors = {each.table: each.clock_error_s + each.read_s for each in snapshots}
                now = snapshots[0].at + time.monotonic() - asked  # when the question arrives
                fresh = read_freshness(server, labelled, now, errors, is_atomic=not node.name)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if not node.name:
                raise
            reading.away[node.name], last = str(error), error
            continue
        for part, snapshot in zip(parts, snapshots, strict=True):
            found.setdefault(part.name, []).append((snapshot, fresh[snapshot.table]))
    if last is not None and not found:
        raise last
    at = max(snapshot.at for some in found.values() for snapshot, _ in some)
    for table in tables:
        some = found.get(table.name, [])
        reading.snapshots[table.name] = join_snapshots(table.name, [snapshot for snapshot, _ in some], at)
        reading.freshness[table.name] = join_freshness([each for _, each in some])
    return reading


def join_snapshots(table: str, parts: Sequence[Snapshot], at: float) -> Snapshot:
    """Return the snapshot of a table; without parts, of one whose servers are all away."""
    if len(parts) == 1:
        return replace(parts[0], table=table)
    if not parts:
        return Snapshot(table, at, waiting_s=0.0, silent_s=None, counters=dict.fromkeys(COUNTERS, 0))

    def of(name: str, join: Callable[[Iterable[Any]], Any]) -> Any:
        return join([value for part in parts if (value := getattr(part, name)) is not None] or [None])

    return Snapshot(
        table=table,
        at=at,
        silent_s=of("silent_s", min),
        is_capped=of("is_capped", any),
        error=next((part.error for part in parts if part.error), ""),
        hours=join_hours(parts),
        counters=add_up(part.counters for part in parts),
        lateness=add_up(part.lateness for part in parts),
        late_s=sum(part.late_s for part in parts if part.late_s is not None),
        **{name: of(name, max) for name in ("waiting_s", "overdue_s", "slow_s", "slow_at", "clock_error_s", "read_s")},
        **{name: of(name, sum) for name in ("scheduled", "overdue", "failing")},
        **{
            name: of(name, max)
            for name in ("committed_at", "missed_at", "paused_at", "may_be_replica", "replica_lag_s")
        },
    )


def join_freshness(parts: Sequence[Freshness]) -> Freshness:
    """Return the freshness of a table: no age is less than it is."""
    if not parts:
        return Freshness({}, 0)
    names = parts[0].ages
    known = {name: [age for part in parts if (age := part.ages[name]) is not None] for name in names}
    counts = {
        name: sum(getattr(part, name) for part in parts)
        for name in ("never_refreshed", "promised", "within", "maybe_within")
    }
    return Freshness({name: max(ages, default=None) for name, ages in known.items()}, **counts)


def join_hours(parts: Sequence[Snapshot]) -> list[str]:
    """Add up the sums of each hour."""
    sums: dict[str, list[float]] = {}
    for text in (text for part in parts for text in part.hours):
        if found := SUMS.fullmatch(text):
            looked, over = sums.setdefault(found[1], [0.0, 0.0])
            sums[found[1]] = [looked + float(found[2]), over + float(found[3])]
    return [f"{hour} {looked:.6f} {over:.6f}" for hour, (looked, over) in sums.items()]


def add_up(counts: Iterable[Mapping[Any, int]]) -> dict[Any, int]:
    """Return the sum of counts."""
    total: Counter[Any] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)
