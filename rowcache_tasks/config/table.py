"""Table: one entry of rowcache_tables."""

import math
from dataclasses import dataclass

from rowcache_tasks.config.adaptive import Adaptive
from rowcache_tasks.config.query import Query
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.keys import Keys

AGE_ERROR_S = 1.0
"""Longest time from the beginning of a read to its commit."""
TARGET = 0.999
"""Of a table with max_staleness and no target."""
MAX_LISTED = 400
"""Characters of a list of names in an error."""


@dataclass(frozen=True, slots=True)
class Table:
    """One entry of rowcache_tables."""

    name: str
    """Name in the settings and in calls: RowCache("inv")."""
    table: str
    """Table or view in the database, "inventory" or "app.users"; with `schema`, its name alone."""
    namespace: str = ""
    """Part of every Redis key of the table."""
    key: tuple[str, ...] = ()
    """Columns that identify a row; empty: the primary key."""
    columns: tuple[str, ...] = ()
    """Columns of the JSON, in this order; empty: all."""
    ttl_s: float | None = None
    """Expiry of a value that is not refreshed; None: it stays until the row is dropped."""
    missing_limit: int = 5
    """Number of refreshes in a row that do not find the row in the database, after which it is dropped."""
    database: str = ""
    """Name of its database in rowcache_databases; empty: that of rowcache_database_url."""
    schema: str = ""
    """Schema of the table; empty: as `table` says, or the default one."""
    queries: tuple[Query, ...] = ()
    """SELECTs that return rows to schedule."""
    max_staleness_s: float | None = None
    """How old a value may get, as promised; seconds. None: nothing is promised."""
    target: float | None = None
    """Share of the rows for which that is promised, 0 to 1."""
    adaptive: Adaptive | None = None
    """Bounds of the delays of rows, which follow how often the rows change. None: delays are fixed."""
    version: str = ""
    """Column that changes with each change of its row; empty: every row is read in full."""
    deployment: str = ""
    """As in Settings."""

    @property
    def keys(self) -> Keys:
        """Names of the table's keys in Redis."""
        return Keys.of(self.namespace, self.deployment)

    @property
    def age_error_s(self) -> float:
        """Seconds by which the true age of a value may exceed the one that is stated."""
        return min(AGE_ERROR_S, math.inf if self.max_staleness_s is None else self.max_staleness_s / 4)

    def start_of(self, delay_s: float, start_in_s: float) -> tuple[float, float]:
        """Return the delay with which a row starts, and the seconds until its first refresh."""
        if self.adaptive is None or not delay_s:
            return delay_s, start_in_s
        start_s = min(max(delay_s, self.adaptive.min_s), self.adaptive.max_s)
        return start_s, start_in_s * start_s / delay_s

    @property
    def setting(self) -> str:
        """Name of this entry in messages."""
        return f"rowcache_tables[{self.name!r}]"

    def query(self, name: str) -> Query:
        """Return a query by its name; raises ArgumentError, which lists the queries."""
        for query in self.queries:
            if query.name == name:
                return query
        found = ", ".join(repr(query.name) for query in self.queries)[:MAX_LISTED] or "none"
        raise ArgumentError(f"query {shorten(name)} is not in {self.setting}['queries']: found {found}")
