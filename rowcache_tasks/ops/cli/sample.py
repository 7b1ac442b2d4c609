"""Sample of a live deployment: rows by interval, sizes, shares.

ZCOUNT counts all rows by their delays, at the same cost for a million rows as for ten. Sizes and shared due times come
from 200 rows of each table. About a hundred short commands a table; read only.
"""

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.ops.plan import LARGEST, Group
from rowcache_tasks.ops.snapshot import read_snapshots
from rowcache_tasks.schedule.row_id import decode_row_id
from rowcache_tasks.schedule.rows import cut

SAMPLED = 200  # rows of each table that are looked at
LIKE = 1.1  # delays up to so many times the shortest of a group are in the group
SHORTEST_S = 0.001  # lower bound for delays of foreign clients
MAX_GROUPS = 300  # from a millisecond to years


def sample_workload(client: "redis.Redis", tables: Sequence[Table]) -> dict[str, Any]:
    """Return `groups` of a Workload, and other fields where known. Raises ArgumentError without scheduled rows."""
    groups = tuple(group for table in tables for group in count_groups(client, table))
    if not groups:
        names = ", ".join(repr(table.name) for table in tables)
        raise ArgumentError(f"no row of {names} has a delay above 0: schedule rows, or give them as ROWS@SECONDS")
    found: dict[str, Any] = {"groups": groups}
    # ZSCAN visits a large set in the order of hashes.
    rows = {table: [*islice(client.zscan_iter(table.keys.schedule, count=SAMPLED), SAMPLED)] for table in tables}
    if sizes := [size for table in tables for size in measure_values(client, table, rows[table])]:
        found["row_bytes"] = sum(sizes) / len(sizes)
    if shares := [share for table in tables for share in share_due_times(client, table, rows[table])]:
        found["together"] = len(shares) / sum(shares)
    snapshots = read_snapshots(client, tables, lease_s=0)
    if committed := sum(snapshot.committed for snapshot in snapshots):
        found["changed_share"] = sum(snapshot.counters["refreshed"] for snapshot in snapshots) / committed
    return found


def count_groups(client: "redis.Redis", table: Table) -> list[Group]:
    """Count rows by delay; the delay of a group is that of its middle row."""
    key = table.keys.delay
    found: list[Group] = []
    rank: Any = client.zcount(key, "-inf", 0)
    while len(found) < MAX_GROUPS and (shortest := delay_at(client, key, rank)) < math.inf:
        count: Any = client.zcount(key, shortest, LIKE * max(shortest, SHORTEST_S))
        if not count:
            break  # The rows have gone since.
        middle = delay_at(client, key, rank + count // 2)
        every_s = middle if middle < math.inf else shortest
        found.append(Group(count, min(LARGEST, max(SHORTEST_S, every_s))))
        rank += count
    return found


def delay_at(client: "redis.Redis", key: str, rank: int) -> float:
    """Return the delay at a rank; infinite behind the last row, and where a foreign client wrote that."""
    found: Any = client.zrange(key, rank, rank, withscores=True)
    return float(found[0][1]) if found else math.inf


def measure_values(client: "redis.Redis", table: Table, rows: Sequence[tuple[bytes, float]]) -> list[int]:
    """Return the bytes of each cached value."""
    found: list[int] = []
    for some in cut(rows, 20):  # Values may be large.
        pipeline = client.pipeline(transaction=False)
        for member, _ in some:
            pipeline.get(table.keys.value(decode_row_id(member)))
        found += [len(value) for value in pipeline.execute() if value is not None]
    return found


def share_due_times(client: "redis.Redis", table: Table, rows: Sequence[tuple[bytes, float]]) -> list[float]:
    """Return for each row its share of its due time: 1 / the rows due then."""
    pipeline = client.pipeline(transaction=False)
    for _, due in rows:
        pipeline.zcount(table.keys.schedule, due, due)
    return [1 / max(1, count) for count in pipeline.execute()]
