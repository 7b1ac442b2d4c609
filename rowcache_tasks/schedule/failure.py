"""Failures of rows, as the scripts record them, and the pauses after them."""

import json
import math
import random
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.row_id import decode_row_id

MAX_ERROR = 500  # characters of a recorded error
NOT_FOUND = "no such row in the database"  # error that miss_rows.lua records


@dataclass(frozen=True, slots=True)
class Backoff:
    """After n failures in a row the next try is min(max_s, base_s * 2^(n-1)) later, less up to half by chance."""

    base_s: float = 1.0
    max_s: float = 60.0
    lease_s: float = 30.0  # of rows that cannot be read as a whole, the longest pause; the longest lease

    def arguments(self) -> list[float]:
        """Return base, bound and a seed: the random numbers of a script are the same at each call."""
        return [self.base_s, self.max_s, random.getrandbits(31)]


@dataclass(frozen=True, slots=True)
class Failure:
    """Last failure of a row."""

    row_id: str
    failures: int
    error: str
    at: float  # Unix time, seconds


def read_failures(client: "redis.Redis", table: Table, limit: int) -> list[Failure]:
    """Read up to `limit` failing rows, in no order."""
    scans = (client.hscan_iter(part.keys.failures, count=1000) for part in table.parts)
    found: Any = islice(chain.from_iterable(scans), limit)
    return [parse_failure(decode_row_id(row_id), record) for row_id, record in found]


def parse_failure(row_id: str, record: bytes) -> Failure:
    """Parse a record; one of a foreign client is quoted as it is."""
    try:
        fields = json.loads(record)
        error = str(fields["error"])[:MAX_ERROR]
        at = float(fields["at"])
        return Failure(row_id, int(fields["failures"]), error, at if math.isfinite(at) else 0.0)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return Failure(row_id, 0, f"unreadable record: {record[:80]!r}", 0.0)
