"""Values of rows and their ages: reads, and rules for what is read."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any

from rowcache_tasks.config.table import Table
from rowcache_tasks.reader.fill.scripts import Found
from rowcache_tasks.reader.options import ReadRequest
from rowcache_tasks.reader.server import PIECE
from rowcache_tasks.reader.transport import Transport
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.row_id import encode_row_id

OPENINGS = (b"{", "{")  # first characters of an object; a text comes from a client with decode_responses
FIRST = 100  # keys in the first round trip of a read; up to so many are one MGET
WINDOW_BYTES, WINDOW_KEYS, GROWTH = 1 << 20, 10 * PIECE, 5
"""Bounds of each later round trip: bytes expected, keys, and keys for each of the one before."""
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


def next_count(values: Sequence[bytes | None]) -> int:
    """Return how many values to read next, if they are as large as the last ones."""
    if not values:
        return FIRST
    size = sum(len(value) for value in values if value)
    fitting = WINDOW_BYTES * len(values) // max(size, 1)
    return max(1, min(fitting, GROWTH * len(values), WINDOW_KEYS))


def is_object(value: Any) -> bool:
    """Whether a value begins as a JSON object; anything else counts as not cached."""
    return bool(value) and value[:1] in OPENINGS


def is_missed(found: Found, request: ReadRequest) -> bool:
    """Whether a row is to be filled: not cached, or too old."""
    return request.is_filled and (not is_object(found[0]) or is_older(found[1], request.max_age))


def is_stale(found: Found, request: ReadRequest) -> bool:
    """Whether a value is older than max_age, or of unknown age. A value that was filled just now is not."""
    return not request.is_filled and is_older(found[1], request.max_age)


def is_older(age: float | None, max_age: float | None) -> bool:
    """Compare ages in seconds; an unknown age is older than any, and no max_age allows all."""
    return max_age is not None and (age is None or age > max_age)


def age_of(refreshed: float | None, now: tuple[int, int]) -> float | None:
    """Return the seconds since the last accepted commit, by the server's clock.

    None when there was none, or when the clock has stepped back since.
    """
    if refreshed is None:
        return None
    age_s = int(now[0]) + int(now[1]) / 1e6 - float(refreshed)
    return max(0.0, age_s) if age_s > -1 else None
