"""Walks over the rows of a table: by age, by due time, failing, or by prefix; in bounded pieces. Read only."""

import heapq
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.row_id import decode_row_id, encode_row_id
from rowcache_tasks.schedule.row_state import RowState, read_row_states
from rowcache_tasks.worker.audit import SPECIAL

PIECE = 200  # members in one reply, about

PLACES = {"oldest": ("refreshed", False), "latest": ("refreshed", True), "due": ("due", False)}
"""Order -> the time of a row, and whether the latest comes first."""

Members = Iterator[list[bytes]]


def walk_rows(client: "redis.Redis", table: Table, order: str, prefix: str = "") -> Iterator[RowState]:
    """Yield rows whose id begins with the prefix, one by one, without their values.

    `order`: oldest, latest, due, failing, or any. A row that is refreshed or dropped meanwhile may be left out, or come
    twice. A row that was never refreshed has no place by age.
    """
    if table.partitions > 1:
        walks = [walk_rows(client, part, order, prefix) for part in table.parts]
        if order in PLACES:
            name, is_reversed = PLACES[order]
            yield from heapq.merge(*walks, key=lambda row: getattr(row, name) or 0.0, reverse=is_reversed)
        else:
            yield from chain.from_iterable(walks)
        return
    start = encode_row_id(prefix)
    for members in pieces(client, table, order, start):
        row_ids = [decode_row_id(member) for member in members if member.startswith(start)]
        if row_ids:
            yield from read_row_states(client, table, row_ids, with_values=False)


def pieces(client: "redis.Redis", table: Table, order: str, prefix: bytes) -> Members:
    """Yield the members of the key that has the order."""
    keys = table.keys
    if order in {"oldest", "latest"}:
        return ranked(client, keys.refreshed, is_reversed=order == "latest")
    if order == "due":
        return ranked(client, keys.schedule)
    key, scan = (keys.failures, client.hscan) if order == "failing" else (keys.schedule, client.zscan)
    return scanned(scan, key, SPECIAL.sub(rb"\\\1", prefix) + b"*")


def scanned(scan: Any, key: str, match: bytes) -> Members:
    """Yield the members that match, in no order."""
    cursor, is_first = 0, True
    while is_first or cursor:
        is_first = False
        cursor, found = scan(key, cursor, match=match, count=PIECE)
        members = [*found] if isinstance(found, dict) else [member for member, _ in found]
        for start in range(0, len(members), PIECE):  # a small key is replied whole
            yield members[start : start + PIECE]


def ranked(client: "redis.Redis", key: str, *, is_reversed: bool = False) -> Members:
    """Yield the members of a ZSET by score, up to the highest score at the beginning."""
    last: Any = client.zrange(key, -1, -1, withscores=True)
    rank = 0
    while True:
        found: Any = client.zrange(key, rank, rank + PIECE - 1, desc=is_reversed, withscores=True)
        # Rows move to the end while they are refreshed, without end.
        members = [member for member, score in found if score <= last[0][1]]
        if not members:
            return
        yield members
        rank = next_rank(client, key, found, is_reversed)


def next_rank(client: "redis.Redis", key: str, found: Sequence[tuple[Any, float]], is_reversed: bool) -> int:
    """Return the rank after a piece: that after its last member that has not moved meanwhile."""
    scores: Any = client.zmscore(key, [member for member, _ in found])
    still = [member for (member, before), score in zip(found, scores, strict=True) if score == before]
    rank: Any = (client.zrevrank if is_reversed else client.zrank)(key, still[-1]) if still else None
    if rank is None:
        limit = f"({found[-1][1]!r}"
        rank = client.zcount(key, limit, "+inf") if is_reversed else client.zcount(key, "-inf", limit)
        return int(rank)
    return int(rank) + 1
