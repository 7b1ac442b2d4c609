"""Sample of the rows of a table in Redis: by chance, or all of them. Read only."""

import random
import re
from collections.abc import Iterator
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.row_id import decode_row_id, encode_row_id
from rowcache_tasks.schedule.servers import node_of
from rowcache_tasks.schedule.table import TableState

SPECIAL = re.compile(rb"([*?\[\]\\^])")  # characters with a meaning in a pattern of Redis


def sample_row_ids(
    client: "redis.Redis", table: Table, count: int, size: int, *, is_scanning: bool
) -> Iterator[list[str]]:
    """Yield up to `count` row ids by chance, `size` at a time; all rows if there are no more.

    The rows are those of `schedule:`, `delay:` and `refreshed:`. `is_scanning`: with all of them also those with
    nothing but a value; raises redis.NoPermissionError at the end where SCAN is not allowed.
    """
    if table.partitions > 1:
        share = -(-count // table.partitions)
        for part in table.parts:
            yield from sample_row_ids(client, part, share, size, is_scanning=is_scanning)
        return
    keys = (table.keys.schedule, table.keys.delay, table.keys.refreshed)
    sizes: list[Any] = [client.zcard(key) for key in keys]
    if count >= max(sizes):
        for row_ids in TableState(client, table).scan_row_ids():
            yield from cut(row_ids, size)
        if is_scanning:
            yield from cut(lone_values(client, table), size)
        return
    seen: set[bytes] = set()
    places = [(key, rank) for key, members in zip(keys, sizes, strict=True) for rank in chosen(members, count)]
    random.shuffle(places)
    for batch in cut(places, size):
        pipeline = client.pipeline(transaction=False)
        for key, rank in batch:
            pipeline.zrange(key, rank, rank)
        found = [member for reply in pipeline.execute() for member in reply if member not in seen]
        members = list(dict.fromkeys(found))[: count - len(seen)]
        seen.update(members)
        if members:
            yield [decode_row_id(member) for member in members]
        if len(seen) >= count:
            return


def chosen(members: int, count: int) -> list[int]:
    """Return some ranks of a set."""
    return random.sample(range(members), min(members, count))


def lone_values(client: "redis.Redis", table: Table) -> Iterator[str]:
    """Yield the row ids of values that have no other key."""
    keys, prefix = table.keys, encode_row_id(table.keys.value_prefix)
    with node_of(client, keys.schedule) as server:  # SCAN has no key
        names: Any = server.scan_iter(SPECIAL.sub(rb"\\\1", prefix) + b"*", count=1000)
    for batch in cut((name.removeprefix(prefix) for name in names), 200):
        found: list[Any] = [client.zmscore(key, batch) for key in (keys.schedule, keys.delay, keys.refreshed)]
        for member, *scores in zip(batch, *found, strict=True):
            if scores == [None, None, None]:
                yield decode_row_id(member)
