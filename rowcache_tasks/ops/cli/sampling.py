"""Own how the numbers of a live deployment are read for a plan: rows by interval, sizes, shares. Reads only.

Rows are counted by their delays with ZCOUNT, which costs the same for a million rows as for ten; sizes, and which rows
are due together, come from a sample. A hundred or so short commands for each table.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.keys import decode_row_id
from rowcache_tasks.ops.capacity import Group
from rowcache_tasks.ops.status import read_snapshot

__all__ = ["Sample", "sample_tables"]

SAMPLED = 200
"""Rows of each table that are looked at."""
LIKE = 1.1
"""Delays up to so many times the shortest of a group are in the group."""
SHORTEST_S = 0.001
"""Shorter delays of foreign clients count as this: no row is refreshed more often."""
MAX_GROUPS = 300
"""From a millisecond to years."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a deployment does."""

    groups: tuple[Group, ...]
    row_bytes: float | None
    """JSON of a row on average; None: nothing is cached."""
    changed_share: float | None
    """Of the refreshes since the statistics began; None: there were none."""
    together: float
    """Rows that are due at the same moment, on average."""


def sample_tables(client: "redis.Redis", tables: Sequence[Table]) -> Sample:
    """Read tables. Raises ArgumentError when no row of them is scheduled."""
    groups = [group for table in tables for group in count_groups(client, table)]
    if not groups:
        names = ", ".join(repr(table.name) for table in tables)
        raise ArgumentError(f"no row of {names} has a delay above 0: schedule rows, or give them as ROWS@SECONDS")
    row_ids = {table: pick(client, table) for table in tables}
    sizes = [size for table in tables for size in measure(client, table, row_ids[table])]
    moments = [share for table in tables for share in share_moments(client, table, row_ids[table])]
    snapshots = [read_snapshot(client, table) for table in tables]
    committed = sum(snapshot.committed for snapshot in snapshots)
    refreshed = sum(snapshot.counters["refreshed"] for snapshot in snapshots)
    return Sample(
        groups=tuple(groups),
        row_bytes=sum(sizes) / len(sizes) if sizes else None,
        changed_share=refreshed / committed if committed else None,
        together=len(moments) / sum(moments) if moments else 1.0,
    )


def count_groups(client: "redis.Redis", table: Table) -> list[Group]:
    """Count rows by delay. The delay of a group is that of its middle row."""
    key = table.keys.delay
    found: list[Group] = []
    rank: Any = client.zcount(key, "-inf", 0)
    while len(found) < MAX_GROUPS and (shortest := delay_at(client, key, rank)) < math.inf:
        count: Any = client.zcount(key, shortest, LIKE * max(shortest, SHORTEST_S))
        if not count:
            break  # What was there is gone.
        middle = delay_at(client, key, rank + count // 2)
        found.append(Group(count, max(SHORTEST_S, middle if middle < math.inf else shortest)))
        rank += count
    return found


def delay_at(client: "redis.Redis", key: str, rank: int) -> float:
    """Give the delay at a rank; infinite behind the last, and where a foreign client says: never."""
    found: Any = client.zrange(key, rank, rank, withscores=True)
    return float(found[0][1]) if found else math.inf


def pick(client: "redis.Redis", table: Table) -> list[tuple[str, float]]:
    """Pick scheduled rows and their due times; ZSCAN goes through large sets in the order of their hashes."""
    picked: dict[str, float] = {}
    cursor, is_first = 0, True
    while (cursor or is_first) and len(picked) < SAMPLED:
        is_first = False
        reply: Any = client.zscan(table.keys.schedule, cursor, count=SAMPLED)
        cursor = int(reply[0])
        picked |= {decode_row_id(member): float(score) for member, score in reply[1]}
    return list(picked.items())[:SAMPLED]


def measure(client: "redis.Redis", table: Table, rows: Sequence[tuple[str, float]]) -> list[int]:
    """Give the bytes of those that are cached, some at a time: they may be large."""
    found = []
    for start in range(0, len(rows), 20):
        pipeline = client.pipeline(transaction=False)
        for row_id, _ in rows[start : start + 20]:
            pipeline.get(table.keys.value(row_id))
        found += [len(value) for value in pipeline.execute() if value is not None]
    return found


def share_moments(client: "redis.Redis", table: Table, rows: Sequence[tuple[str, float]]) -> list[float]:
    """Give for each row its share of the moment at which it is due: 1 / the rows due then."""
    pipeline = client.pipeline(transaction=False)
    for _, due in rows:
        pipeline.zcount(table.keys.schedule, due, due)
    return [1 / max(1, count) for count in pipeline.execute()]
