"""Seed queries: named SELECTs of the settings that return row ids.

A message names a query and never carries SQL; otherwise whoever may send tasks could run any statement.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rowcache_tasks.config.parse import parse_name, refusal
from rowcache_tasks.errors.text import shorten

STATEMENT = re.compile(r"\s*((?:SELECT|WITH)\b[^;\0\ud800-\udfff]*?)[\s;]*", re.IGNORECASE)
"""Against mistakes only: a session can only read, whatever the statement is."""
EXAMPLE = '{"hot": "SELECT id FROM inventory WHERE sold > 10"}'


@dataclass(frozen=True, slots=True)
class Query:
    """One SELECT. Its columns are those of the key, in the order of the key, then perhaps a delay in seconds."""

    name: str
    setting: str  # its name in messages
    sql: str


def parse_queries(setting: str, raw: object) -> tuple[Query, ...]:
    """Validate the queries of a table: a dictionary of name -> SELECT, or None. Raises ConfigError."""
    if raw is None:
        return ()
    if not isinstance(raw, Mapping):
        raise refusal(setting, raw, f"a dictionary like {EXAMPLE}")
    return tuple(parse_query(f"{setting}[{shorten(name)}]", name, sql) for name, sql in raw.items())


def parse_query(setting: str, name: object, sql: object) -> Query:
    """Validate a query; the semicolon at its end is left out."""
    name = parse_name(setting, "query", name)
    found = STATEMENT.fullmatch(sql) if isinstance(sql, str) else None
    if found is None:
        raise refusal(setting, sql, "one statement that begins with SELECT or WITH, and no other ';'")
    return Query(name, setting, found[1])
