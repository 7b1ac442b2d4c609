"""Reads of the values of a divided table, in the parts where the rows are."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any

from rowcache_tasks.config.table import Table
from rowcache_tasks.reader.age import age_of
from rowcache_tasks.reader.fill.scripts import Found
from rowcache_tasks.reader.server import PIECE
from rowcache_tasks.reader.transport import Transport
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.row_id import encode_row_id

Read = Callable[[Transport, Table, Sequence[str]], Awaitable[dict[str, Found]]]


async def read_everywhere(io: Transport, table: Table, row_ids: Sequence[str], read: Read) -> dict[str, Found]:
    """Read rows; of a table that grows also at their old places, and then again at the new ones.

    A row that moves in between is found: it is at the new place before it leaves the old one.
    """
    found = await read(io, table, row_ids)
    for other in (table.old, table) if table.growing_from else ():
        if missed := [row_id for row_id in row_ids if found[row_id][0] is None]:
            found |= await read(io, other, missed)
    return found


async def read_values(io: Transport, table: Table, row_ids: Sequence[str]) -> dict[str, Found]:
    """Read values, without their ages."""
    parts = table.divide(row_ids)
    commands = [("MGET", *piece) for part, some in parts for piece in cut(map(part.keys.value, some), PIECE)]
    replies = await io.send(commands)
    order = chain.from_iterable(some for _, some in parts)
    return {row_id: (value, None) for row_id, value in zip(order, chain.from_iterable(replies), strict=True)}


async def read_aged(io: Transport, table: Table, row_ids: Sequence[str]) -> dict[str, Found]:
    """Ask for ages first, so that a commit in between makes an age too high, not too low."""
    commands: list[Any] = []
    parts = table.divide(row_ids)
    for part, some in parts:
        commands += [("ZMSCORE", part.keys.refreshed, *map(encode_row_id, piece)) for piece in cut(some, PIECE)]
        commands += [("MGET", *piece) for piece in cut(map(part.keys.value, some), PIECE)]
        commands.append(("TIME",))
    replies = await io.send(commands)
    left, found = iter(replies), dict[str, Found]()
    for _, some in parts:
        pieces = range(0, len(some), PIECE)
        scores = [score for _ in pieces for score in next(left)]
        values = [value for _ in pieces for value in next(left)]
        now = next(left)
        for row_id, score, value in zip(some, scores, values, strict=True):
            found[row_id] = value, None if value is None else age_of(score, now)
    return found
