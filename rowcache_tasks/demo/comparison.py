"""Comparison of the cache with the database, column by column.

Reads both without the code that filled the cache, except the names of the keys.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import redis
from psycopg import sql
from psycopg.rows import dict_row

from rowcache_tasks.config.settings import Table
from rowcache_tasks.demo.error import DemoError
from rowcache_tasks.schedule.rows import cut

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows of the database or the cache, and those that are not the same in both."""

    compared: int
    differing: Mapping[str, str]
    """Row id -> both values on one line."""


def compare_rows(client: "redis.Redis", connection: "psycopg.Connection[Any]", table: Table, key: str) -> Comparison:
    """Compare every cached row with its database row; a row that only one of them has differs.

    `key` is one column. Values are integers and text, as in pgbench_accounts.
    """
    expected, cached = read_database(connection, table, key), read_cache(client, table)
    everywhere = expected.keys() | cached.keys()
    differing = {
        row_id: f"database {shown(expected.get(row_id))}, cache {shown(cached.get(row_id))}"
        for row_id in everywhere
        if not is_same(expected.get(row_id), cached.get(row_id))
    }
    return Comparison(len(everywhere), differing)


def read_database(connection: "psycopg.Connection[Any]", table: Table, key: str) -> dict[str, Row]:
    """Read the whole table: row id -> row."""
    query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(*table.table.split(".")))
    with connection.cursor(row_factory=dict_row) as cursor:
        return {str(row[key]): row for row in cursor.execute(query)}


def read_cache(client: "redis.Redis", table: Table) -> dict[str, Row | None]:
    """Read all cached values: row id -> row, or None if it is not a JSON object."""
    prefix = table.keys.value_prefix.encode()
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
    for column, value in expected.items():
        if not isinstance(value, int | str | None):
            raise DemoError(f"column {column} is a {type(value).__name__}: only integers and text can be compared")
        if type(value) is not type(cached[column]) or value != cached[column]:
            return False
    return True


def shown(row: Row | None) -> str:
    """Show a row within one line."""
    return "nothing" if row is None else repr({c: v.rstrip() if isinstance(v, str) else v for c, v in row.items()})
