"""Tables with partitions as a whole: counts add up, waits and ages are the greatest. Read only."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.ops.freshness import UNKNOWN, Freshness, read_freshness
from rowcache_tasks.ops.snapshot import Snapshot, read_snapshots
from rowcache_tasks.schedule.servers import by_node

Part = TypeVar("Part", Snapshot, Freshness)


def add_up(counts: Iterable[Mapping[Any, float]]) -> dict[Any, float]:
    """Return the sum of counts."""
    total: Counter[Any] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


def oldest(ages: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Return the greatest age of each name."""
    return {name: max((age for each in ages if (age := each[name]) is not None), default=None) for name in ages[0]}


JOINS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("scheduled", "overdue", "failing", "late_s"), sum),
    **dict.fromkeys(("never_refreshed", "promised", "within", "maybe_within"), sum),
    **dict.fromkeys(("counters", "lateness", "looked_s", "beyond_s"), add_up),
    "ages": oldest,
    "silent_s": min,
}
"""Field -> the function that makes one value of those of the partitions; of other fields the greatest is taken."""


def join(parts: Sequence[Part], **given: Any) -> Part:
    """Return the state of a table by that of its partitions, but for the fields given. None: not known, is left out."""
    if len(parts) > 1:
        for name in {each.name for each in fields(parts[0])} - given.keys():
            known = [value for part in parts if (value := getattr(part, name)) is not None]
            given[name] = JOINS.get(name, max)(known) if known else None
    return replace(parts[0], **given)


@dataclass(slots=True)
class Reading:
    """State of all tables."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    freshness: dict[str, Freshness] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)  # server that does not answer -> the reason; without its parts


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
    for name in (table.name for table in tables):
        some = found.get(name, [(Snapshot(name, at, 0.0, None, is_known=False), UNKNOWN)])
        reading.snapshots[name] = join([snapshot for snapshot, _ in some], table=name)
        reading.freshness[name] = join([ages for _, ages in some])
    return reading
