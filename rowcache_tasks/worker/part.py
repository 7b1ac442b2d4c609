"""Claims of one refresh: by SELECT, and by the part of the table, which has a server of its own."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.node import NodeAwayError, is_moving
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.worker.read_limit import Clock, ReadStart, start_read
from rowcache_tasks.worker.warning import warn_once

logger = logging.getLogger(__name__)


def row_ids_of(claims: Sequence[Claim]) -> list[str]:
    """Return the rows of some claims."""
    return [row_id for claim in claims for row_id in claim.row_ids]


def group_claims(claims: Sequence[Claim], size: int) -> Iterator[list[Claim]]:
    """Group claims by SELECT: of up to `size` rows each. A longer claim is cut."""
    group: list[Claim] = []
    room = size
    for claim in claims:
        for row_ids in cut(claim.row_ids, size):
            if len(row_ids) > room:
                yield group
                group, room = [], size
            group.append(replace(claim, row_ids=row_ids))
            room -= len(row_ids)
    if group:
        yield group


def part_of(schedule: Schedule, claim: Claim) -> Schedule:
    """Return the schedule of the part of the table that a claim is of."""
    return schedule.parts.get(claim.namespace, schedule)


def settled(replies: Iterable[Sequence[Any]]) -> Iterator[Any]:
    """Yield the replies of each call. Rows whose slot is being moved are left to their lease."""
    return (reply for some in replies for reply in some if not is_moving(reply))


def start_reads(
    schedule: Schedule, claims: Sequence[Claim], exchange: Exchange, clock: Clock | None
) -> tuple[list[Claim], list[ReadStart]]:
    """Return the claims whose server is not away, and a time of the server of each. Others wait for the lease."""
    by_server: dict[str, list[Claim]] = {}
    for claim in claims:
        by_server.setdefault(exchange.node(part_of(schedule, claim).table.keys.schedule), []).append(claim)
    group: list[Claim] = []
    starts: list[ReadStart] = []
    for some in by_server.values():
        try:
            start = start_read(exchange, schedule.table, some, clock, part_of(schedule, some[0]).table.keys.schedule)
        except NodeAwayError as error:
            warn_away(schedule, some, error)
            continue
        group += some
        starts += [start] * len(some)
    return group, starts


def without_lost(
    schedule: Schedule, claims: Sequence[Claim], starts: Sequence[ReadStart]
) -> tuple[list[Claim], list[ReadStart]]:
    """Return the claims whose server has told the time, as start_reads does."""
    lost = [claim for claim, start in zip(claims, starts, strict=True) if start.asked is not None]
    if lost:
        key = part_of(schedule, lost[0]).table.keys.schedule
        warn_away(schedule, lost, NodeAwayError(f"the server of {key} is away"))
    kept = [(claim, start) for claim, start in zip(claims, starts, strict=True) if start.asked is None]
    return [claim for claim, _ in kept], [start for _, start in kept]


def warn_away(schedule: Schedule, claims: Sequence[Claim], error: Exception) -> None:
    """Log that rows wait for their lease, once a minute."""
    rows, name = sum(len(claim.row_ids) for claim in claims), schedule.table.name
    warn_once(logger, f"away {name}", "%d rows of %s wait for their lease: %s", rows, name, error)
