"""Reads of the values of a divided table, in the parts where the rows are; no I/O."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from rowcache_tasks.config.table import Table
from rowcache_tasks.reader.age import age_of
from rowcache_tasks.reader.fill.scripts import Found
from rowcache_tasks.reader.server import PIECE
from rowcache_tasks.reader.step import Call, Pipeline, Steps
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.row_id import encode_row_id

Read = Callable[[Table, Sequence[str]], Steps[dict[str, Found]]]


def read_everywhere(table: Table, row_ids: Sequence[str], read: Read) -> Steps[dict[str, Found]]:
    """Read rows; of a table that grows also at their old places, and then again at the new ones.

    A row that moves in between is found: it is at the new place before it leaves the old one.
    """
    found = yield from read(table, row_ids)
    for other in (table.old, table) if table.growing_from else ():
        if missed := [row_id for row_id in row_ids if found[row_id][0] is None]:
            found |= yield from read(other, missed)
    return found


def read_values(table: Table, row_ids: Sequence[str]) -> Steps[dict[str, Found]]:
    """Read values, without their ages."""
    parts = table.divide(row_ids)
    commands = [("MGET", *piece) for part, some in parts for piece in cut(map(part.keys.value, some), PIECE)]
    (replies,) = yield Call([Pipeline(commands)])
    order = chain.from_iterable(some for _, some in parts)
    return {row_id: (value, None) for row_id, value in zip(order, chain.from_iterable(replies), strict=True)}


def read_aged(table: Table, row_ids: Sequence[str]) -> Steps[dict[str, Found]]:
    """Ask for ages first, so that a commit in between makes an age too high, not too low."""
    commands: list[Any] = []
    parts = table.divide(row_ids)
    for part, some in parts:
        commands += [("ZMSCORE", part.keys.refreshed, *map(encode_row_id, piece)) for piece in cut(some, PIECE)]
        commands += [("MGET", *piece) for piece in cut(map(part.keys.value, some), PIECE)]
        commands.append(("TIME",))
    (replies,) = yield Call([Pipeline(commands)])
    left, found = iter(replies), dict[str, Found]()
    for _, some in parts:
        pieces = range(0, len(some), PIECE)
        scores = [score for _ in pieces for score in next(left)]
        values = [value for _ in pieces for value in next(left)]
        now = next(left)
        for row_id, score, value in zip(some, scores, values, strict=True):
            found[row_id] = value, None if value is None else age_of(score, now)
    return found
