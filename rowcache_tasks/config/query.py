"""Own the queries that say which rows to schedule: a name in the settings and a SELECT. Must not know how to run it.

A message names a query and never carries SQL: whoever may send tasks could run any statement.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rowcache_tasks.errors import ConfigError
from rowcache_tasks.text import shorten

__all__ = ["Query", "parse_queries", "parse_query"]

STATEMENT = re.compile(r"\s*((?:SELECT|WITH)\b[^;\0\ud800-\udfff]*?)[\s;]*", re.IGNORECASE)
"""A session can only read, whatever the statement is; this is for mistakes."""
MAX_NAME = 100
EXAMPLE = '{"hot": "SELECT id FROM inventory WHERE sold > 10"}'


@dataclass(frozen=True, slots=True)
class Query:
    """One SELECT. Its columns are those of the key, in the order of the key, then perhaps one of delays in seconds."""

    name: str
    setting: str
    """How messages name it."""
    sql: str


def parse_queries(setting: str, raw: object) -> tuple[Query, ...]:
    """Validate the queries of a table: a dictionary of name -> SELECT, or None. Raises ConfigError."""
    if raw is None:
        return ()
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{setting} is {shorten(raw)}: allowed is a dictionary like {EXAMPLE}")
    return tuple(parse_query(f"{setting}[{shorten(name)}]", name, sql) for name, sql in raw.items())


def parse_query(setting: str, name: object, sql: object) -> Query:
    """Validate a query; the semicolon at its end is left out."""
    if not isinstance(name, str) or not name or not name.isprintable() or len(name) > MAX_NAME:
        raise ConfigError(
            f"{setting}: a query's name must be a non-empty string of up to {MAX_NAME} printable characters"
        )
    found = STATEMENT.fullmatch(sql) if isinstance(sql, str) else None
    if found is None:
        raise ConfigError(
            f"{setting} is {shorten(sql)}: allowed is one statement that begins with SELECT or WITH, and no other ';'"
        )
    return Query(name, setting, found[1])
