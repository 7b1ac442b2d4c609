"""Comparison of the cache with the database, column by column, and the wait before it.

Reads both without the code that filled the cache, except the names of the keys.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import redis
from psycopg.rows import dict_row

from demo.accounts import TABLE
from rowcache_tasks.schedule.cut import cut

Row = Mapping[str, Any]

ROUNDING_S = 1e-4
"""A due time minus the delay is the time of the claim except for the last digits."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows of the database or the cache, and those that are not the same in both."""

    compared: int
    differing: Mapping[str, str]
    """Row id -> both values on one line."""


def compare_rows(client: "redis.Redis", connection: "psycopg.Connection[Any]") -> Comparison:
    """Compare every cached row with its database row; a row that only one of them has differs."""
    expected, cached = read_database(connection), read_cache(client)
    everywhere = expected.keys() | cached.keys()
    differing = {
        row_id: f"database {shown(expected.get(row_id))}, cache {shown(cached.get(row_id))}"
        for row_id in everywhere
        if not is_same(expected.get(row_id), cached.get(row_id))
    }
    return Comparison(len(everywhere), differing)


def read_database(connection: "psycopg.Connection[Any]") -> dict[str, Row]:
    """Read the whole table: row id -> row."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return {str(row["aid"]): row for row in cursor.execute("SELECT * FROM pgbench_accounts")}


def read_cache(client: "redis.Redis") -> dict[str, Row | None]:
    """Read all cached values: row id -> row, or None if it is not a JSON object."""
    prefix = TABLE.keys.value_prefix.encode()
    rows: dict[str, Row | None] = {}
    for names in cut(client.scan_iter(match=prefix + b"*", count=5000), 1000):
        values: Any = client.mget(names)
        rows |= {name.removeprefix(prefix).decode(): parse(value) for name, value in zip(names, values, strict=True)}
    return rows


def parse(value: bytes | None) -> Row | None:
    """Decode one JSON object with the standard library."""
    try:
        row = json.loads(value or b"null")
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def is_same(expected: Row | None, cached: Row | None) -> bool:
    """Return whether both have the same columns and values; 1, 1.0 and true are three values."""
    if expected is None or cached is None or expected.keys() != cached.keys():
        return False
    return all(type(value) is type(cached[column]) and value == cached[column] for column, value in expected.items())


def shown(row: Row | None) -> str:
    """Show a row within one line."""
    return "nothing" if row is None else repr({c: v.rstrip() if isinstance(v, str) else v for c, v in row.items()})


class StaleRows:
    """Rows whose value may have been read before `since` (Unix time of the server).

    A committed row is due one delay after its claim, and was read after the claim. While it is claimed, its score is
    the end of the lease: with a lease longer than the delay, score - delay is later than the last commit. So the value
    is new if since < schedule - delay <= refreshed.
    """

    def __init__(self, client: "redis.Redis", row_ids: Iterable[str], since: float) -> None:
        self._client = client
        self._left = list(row_ids)
        self._since = since

    def count(self) -> int:
        """Count them; a row that is new once stays new."""
        committed = int(self._client.zcount(TABLE.keys.refreshed, f"({self._since:.6f}", "+inf"))
        scheduled = int(self._client.zcard(TABLE.keys.schedule))
        if committed < scheduled:  # two cheap commands, as long as single rows do not matter
            return scheduled - committed
        self._left = [row_id for batch in cut(self._left, 1000) for row_id in self._stale(batch)]
        return len(self._left)

    def _stale(self, row_ids: list[str]) -> list[str]:
        pipeline: Any = self._client.pipeline(transaction=True)
        for zset in (TABLE.keys.schedule, TABLE.keys.delay, TABLE.keys.refreshed):
            pipeline.zmscore(zset, row_ids)
        scores = zip(row_ids, *pipeline.execute(), strict=True)
        return [row_id for row_id, *times in scores if None in times or not self._is_new(*times)]

    def _is_new(self, due: float, delay: float, refreshed: float) -> bool:
        return self._since < due - delay <= refreshed + ROUNDING_S
