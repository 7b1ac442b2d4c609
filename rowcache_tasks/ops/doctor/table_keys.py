"""Checks of the keys of a table against the wire contract."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import redis

from rowcache_tasks.celery.application import COMMAND
from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors.text import show_count, show_row_ids
from rowcache_tasks.keys import Keys
from rowcache_tasks.ops.finding import Finding, fail, ok, warn
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.row_id import decode_row_id

SAMPLE = 10_000  # rows of schedule: and of delay: that are checked
SHOWN = 3
NEVER_S = 3651 * 86400  # a larger due time or delay is a mistake, such as milliseconds instead of seconds
TYPES = {
    **dict.fromkeys(("schedule", "delay", "refreshed", "changed", "notes", "position"), "zset"),
    "wake": "list",
    "outcomes": "list",
    "expiring": "string",
    "asked": "set",
    **dict.fromkeys(("failures", "state", "stats"), "hash"),
}


def examine_keys(client: "redis.Redis", table: Table) -> Iterator[Finding]:
    """Check the types of the keys of a table, then its schedule."""
    if found := list(wrong_types(client, table.keys)):
        yield from found
        return
    found = [*lost_rows(client, table), *endless_rows(client, table)]
    yield from found
    if not found:
        rows: Any = client.zcard(table.keys.schedule)
        looked = "all" if rows <= SAMPLE else f"{SAMPLE:,}"
        yield ok(f"{table.name}: {show_count(rows, 'row')} scheduled, schedule and delays agree ({looked} looked at)")


def wrong_types(client: "redis.Redis", keys: Keys) -> Iterator[Finding]:
    """Find keys of a wrong type."""
    pipeline = client.pipeline(transaction=False)
    for name in TYPES:
        pipeline.type(getattr(keys, name))
    for (name, allowed), reply in zip(TYPES.items(), pipeline.execute(), strict=True):
        if (found := reply.decode()) not in {"none", allowed}:
            yield fail(
                f"key {getattr(keys, name)!r} is a {found}, it must be a {allowed}: another program writes there: "
                "give the table a namespace of its own, or remove the key (RENAME keeps what is in it)"
            )


def lost_rows(client: "redis.Redis", table: Table) -> Iterator[Finding]:
    """Find rows with a delay that are not in the schedule, so never refreshed or dropped, and the other way round."""
    found = list(only_in(client, table.keys.delay, table.keys.schedule))
    if lost := [row_id for row_id, delay in found if delay > 0]:
        yield fail(
            f"{table.name}: {amount(len(lost))} in {table.keys.delay!r} but not in {table.keys.schedule!r} "
            f"and never refreshed: {name(lost)}: {COMMAND} refresh {table.name} ROW_ID… schedules them again"
        )
    if dead := [row_id for row_id, delay in found if delay <= 0]:
        yield warn(
            f"{table.name}: {amount(len(dead))} to be dropped and not in {table.keys.schedule!r}, so never dropped: "
            f"{name(dead)}: {COMMAND} unschedule {table.name} ROW_ID…"
        )
    # Without a delay, a row is not cached any more in the protocol of the book.
    delayless = [row_id for row_id, _ in only_in(client, table.keys.schedule, table.keys.delay)]
    if unwanted := lasting(client, table, delayless):
        yield warn(
            f"{table.name}: {amount(len(unwanted))} in {table.keys.schedule!r} without a delay and dropped when due: "
            f"{name(unwanted)}: to cache them, {COMMAND} schedule {table.name} DELAY ROW_ID…"
        )


def endless_rows(client: "redis.Redis", table: Table) -> Iterator[Finding]:
    """Find rows that are practically never due."""
    seconds, _ = client.time()
    for key, low, what in (
        (table.keys.schedule, int(seconds) + NEVER_S, "due in more than ten years (milliseconds instead of seconds?)"),
        (table.keys.delay, NEVER_S, "to be refreshed less than once in ten years (milliseconds instead of seconds?)"),
    ):
        count: Any = client.zcount(key, low, math.inf)
        if count:
            first: Any = client.zrange(key, low, math.inf, byscore=True, offset=0, num=SHOWN)
            yield fail(
                f"{table.name}: {amount(count)} {what} in {key!r}: "
                f"{show_row_ids(map(decode_row_id, first), count)}: {COMMAND} schedule {table.name} DELAY ROW_ID…"
            )


def only_in(client: "redis.Redis", key: str, other: str) -> Iterator[tuple[str, float]]:
    """Yield members of ZSET `key` that are not in ZSET `other`, with their scores; a sample, read in transactions."""
    members = (member for member, _ in islice(client.zscan_iter(key, count=1000), SAMPLE))
    for batch in cut(members, 1000):
        pipeline = client.pipeline(transaction=True)
        pipeline.zmscore(key, batch)
        pipeline.zmscore(other, batch)
        here, there = pipeline.execute()
        for member, score, counterpart in zip(batch, here, there, strict=True):
            if score is not None and counterpart is None:
                yield decode_row_id(member), float(score)


def lasting(client: "redis.Redis", table: Table, row_ids: Sequence[str]) -> list[str]:
    """Leave out rows whose value expires: readers have filled them, and they are due to be dropped after that."""
    pipeline = client.pipeline(transaction=False)
    for row_id in row_ids:
        pipeline.pttl(table.keys.value(row_id))
    return [row_id for row_id, expires_ms in zip(row_ids, pipeline.execute(), strict=True) if expires_ms < 0]


def amount(count: int) -> str:
    """Write a number of rows with the verb: 1 row is, 2 rows are."""
    return f"{show_count(count, 'row')} {'is' if count == 1 else 'are'}"


def name(row_ids: Sequence[str]) -> str:
    """Name the first few rows."""
    return show_row_ids(row_ids[:SHOWN], len(row_ids))
