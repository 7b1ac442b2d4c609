"""Sample of a live deployment, from which a capacity plan is made."""

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.ops.plan import LARGEST, Group
from rowcache_tasks.ops.snapshot import read_snapshots
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.row_id import decode_row_id

SAMPLED = 200  # rows of each table that are looked at
LIKE = 1.1  # delays up to so many times the shortest of a group are in the group
SHORTEST_S = 0.001  # lower bound for delays of foreign clients
MAX_GROUPS = 300  # from a millisecond to years


def sample_workload(client: "redis.Redis", tables: Sequence[Table]) -> dict[str, Any]:
    """Return `groups` of a Plan, and other fields where known. Raises ArgumentError without scheduled rows."""
    groups = tuple(group for table in tables for group in count_groups(client, table))
    if not groups:
        names = ", ".join(repr(table.name) for table in tables)
        raise ArgumentError(f"no row of {names} has a delay above 0: schedule rows, or give them as ROWS@SECONDS")
    found: dict[str, Any] = {"groups": groups}
    measured = [measure_rows(client, table) for table in tables]
    if sizes := [size for some, _ in measured for size in some]:
        found["row_bytes"] = sum(sizes) / len(sizes)
    if shares := [share for _, some in measured for share in some]:
        found["together"] = len(shares) / sum(shares)
    snapshots = read_snapshots(client, tables, lease_s=0)
    if committed := sum(snapshot.committed for snapshot in snapshots):
        found["changed_share"] = sum(snapshot.counters["refreshed"] for snapshot in snapshots) / committed
    return found


def count_groups(client: "redis.Redis", table: Table) -> list[Group]:
    """Count rows by delay; the delay of a group is that of its middle row."""
    key = table.keys.delay

    def delay_at(rank: int) -> float:
        row: Any = client.zrange(key, rank, rank, withscores=True)
        return float(row[0][1]) if row else math.inf  # behind the last row; a foreign client may write it too

    found: list[Group] = []
    rank: Any = client.zcount(key, "-inf", 0)
    while len(found) < MAX_GROUPS and (shortest := delay_at(rank)) < math.inf:
        count: Any = client.zcount(key, shortest, LIKE * max(shortest, SHORTEST_S))
        if not count:
            break  # The rows have gone since.
        middle = delay_at(rank + count // 2)
        every_s = middle if middle < math.inf else shortest
        found.append(Group(count, min(LARGEST, max(SHORTEST_S, every_s))))
        rank += count
    return found


def measure_rows(client: "redis.Redis", table: Table) -> tuple[list[int], list[float]]:
    """Return the bytes of some cached values, and the share of each row in its due time: 1 / the rows due then."""
    sizes, shares = list[int](), list[float]()
    # ZSCAN visits a large set in the order of hashes.
    for rows in cut(islice(client.zscan_iter(table.keys.schedule, count=SAMPLED), SAMPLED), 20):  # values may be large
        pipeline: Any = client.pipeline(transaction=False)
        for member, due in rows:
            pipeline.get(table.keys.value(decode_row_id(member))).zcount(table.keys.schedule, due, due)
        replies = pipeline.execute()
        sizes += [len(value) for value in replies[::2] if value is not None]
        shares += [1 / max(1, count) for count in replies[1::2]]
    return sizes, shares
