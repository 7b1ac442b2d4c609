"""Rows that were read from a replica of the database."""

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from rowcache_tasks.errors import SourceError
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.cut import SCRIPT_BATCH, cut
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.node import is_moving
from rowcache_tasks.schedule.position import ReadPosition, check_positions
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.worker.part import part_of

if TYPE_CHECKING:
    from rowcache_tasks.database.source import Source

LOOK_S = 10.0
next_look: dict[str, float] = {}  # namespace of a table -> time of the monotonic clock


def leave_early(
    schedule: Schedule,
    claims: Sequence[Claim],
    failed: Collection[str],
    positions: Sequence[ReadPosition],
    exchange: Exchange,
) -> list[Claim]:
    """Return claims without the rows that were read before the position that they need, which are due again soon.

    `failed`: rows that were not read. If the process dies after this call, the rows are due when their lease ends.
    Raises the errors of Redis; rows whose server is away wait for their lease.
    """
    read = ReadPosition.of(positions)
    checks = []
    for number, claim in enumerate(claims):
        table = part_of(schedule, claim).table
        for batch in cut([row_id for row_id in claim.row_ids if row_id not in failed], SCRIPT_BATCH):
            call = check_positions(table, batch, read, claim.lease_until)
            checks.append((number, batch, exchange.send([call.command])))
    exchange.read()
    kept = [[row_id for row_id in claim.row_ids if row_id in failed] for claim in claims]
    for number, batch, replies in checks:
        for reply in replies:
            if is_moving(reply):
                continue
            if isinstance(reply, Exception):
                raise reply
            kept[number] += [row_id for row_id, is_reached in zip(batch, reply, strict=True) if is_reached]
    return [replace(claim, row_ids=row_ids) for claim, row_ids in zip(claims, kept, strict=True)]


def note_lag(schedule: Schedule, source: "Source", claims: Sequence[Claim], exchange: Exchange) -> None:
    """Note now and then that rows are read from a replica, and how far it is behind; nothing for a primary."""
    from rowcache_tasks.database.engine import engines_of_replicas, read_lags  # noqa: PLC0415 an extra

    table = part_of(schedule, claims[0]).table
    if source.engine not in engines_of_replicas or time.monotonic() < next_look.get(table.namespace, 0.0):
        return
    next_look[table.namespace] = time.monotonic() + LOOK_S
    with suppress(SourceError):
        for lag_s in read_lags(source.engine, 1):
            lag = "" if lag_s is None else f"{lag_s:.3f}"
            exchange.send([("HSET", table.keys.state, "replica_at", claims[0].claimed_at, "replica_lag_s", lag)])
