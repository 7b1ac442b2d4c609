"""Positions in the log of a database: at which rows were read, and which they need."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.schedule.cut import SCRIPT_BATCH, cut
from rowcache_tasks.schedule.row_id import encode_row_id
from rowcache_tasks.schedule.script import ScriptCall, load_script

if TYPE_CHECKING:
    import redis

LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
UNCLAIMED = "nan"  # end of the lease of rows that are not claimed
HEADER_BYTES = 24
"""A position after a commit may lie behind the header of a page that is still empty, which no replica reaches. So much
before it is after the record of the same commit still: none is as short.
"""


@dataclass(frozen=True, slots=True)
class ReadPosition:
    """Bounds of what some SELECTs have seen: all up to `low`, nothing after `high`."""

    low: float  # infinite: read from the primary, whatever its position
    high: float

    @classmethod
    def of(cls, positions: Iterable["ReadPosition"]) -> "ReadPosition":
        """Return the bounds of all."""
        lows, highs = zip(*((each.low, each.high) for each in positions), strict=True)
        return cls(min(lows), max(highs))


def parse_position(value: object) -> str:
    """Accept a position of PostgreSQL, as "16/B374D848"; empty or None: it is not known."""
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not LSN.fullmatch(value):
        raise ArgumentError(
            f"position is {shorten(value)}: it must be a text such as '16/B374D848', "
            "of SELECT pg_current_wal_insert_lsn() after the commit, or empty"
        )
    return value


def number_of(lsn: str) -> int:
    """Return a position of PostgreSQL as a number of bytes."""
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16)


def need_position(client: "redis.Redis", table: Table, row_ids: Iterable[str], position: str) -> None:
    """Let rows of a table with "replica" need a position from now on: a value that was read before is not committed.

    Call it before the rows are made due. Without a position, or for another table, nothing is done.
    """
    if not (position and table.replica):
        return
    needed = max(0, number_of(position) - HEADER_BYTES)
    with client.pipeline(transaction=False) as pipeline:
        for part, some in table.divide(row_ids):
            for batch in cut(some, SCRIPT_BATCH):
                members: Any = {encode_row_id(row_id): needed for row_id in batch}
                pipeline.zadd(part.keys.position, members, gt=True)
        pipeline.execute()


def check_positions(
    table: Table, row_ids: Sequence[str], read: ReadPosition, lease_until: str = UNCLAIMED
) -> ScriptCall:
    """Return the call for up to SCRIPT_BATCH rows that were read; its reply has 1 for each that may be committed.

    Rows of a claim that may not are due again soon.
    """
    low = "inf" if math.isinf(read.low) else int(read.low)
    arguments = (lease_until, low, int(read.high), *map(encode_row_id, row_ids))
    return load_script("check_positions").call(table.keys, *arguments)
