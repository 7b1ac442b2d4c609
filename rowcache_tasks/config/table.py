"""Table: one entry of rowcache_tables."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from rowcache_tasks.config.parse import refusal, seconds
from rowcache_tasks.config.query import Query
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import nearest, shorten
from rowcache_tasks.keys import Keys, divide_row_ids, partition_of, tags_of

AGE_ERROR_S = 1.0  # longest time from the beginning of a read to its commit
TARGET = 0.999  # of a table with max_staleness and no target
MAX_LISTED = 400  # characters of a list of names in an error


class Adaptive(NamedTuple):
    """Shortest and longest delay of a row; seconds."""

    min_s: float
    max_s: float


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
    max_rate: float | None = None
    """Cap on claimed rows a second. None: no cap."""
    admission: str = "warn"
    """What happens to schedule changes that the workers cannot keep: "warn" or "refuse"."""
    version: str = ""
    """Column that changes with each change of its row; empty: every row is read in full."""
    replica: bool = False
    """Whether its database may be a replica: a value that was read too early is not committed."""
    partitions: int = 1
    """Number of parts with keys of their own, each in one slot of a cluster."""
    growing_from: int = 0
    """Number of parts from which rows are moved to these; 0: none. Both are served meanwhile."""
    deployment: str = ""
    """As in Settings."""
    replicas: int = 0
    """As in Settings."""
    tag: str = ""
    """Of a part: its tag in the keys; empty: the table is not divided."""
    is_left: bool = False
    """Of a part: its rows are moved to others."""

    @property
    def keys(self) -> Keys:
        """Names of the table's keys in Redis, which only a table that is not divided and a part of one have."""
        if self.partitions > 1:
            raise TypeError(f"{self.setting} has partitions, each with keys of its own")
        return Keys.of(self.namespace, self.deployment, self.tag)

    @property
    def place(self) -> str:
        """Name of the part in messages and keys; that of a table that is not divided is its namespace."""
        return f"{self.namespace}{{{self.tag}}}" if self.tag else self.namespace

    @property
    def layout(self) -> str:
        """Key of the number of its partitions in Redis."""
        return f"layout:{self.namespace}"

    @property
    def label(self) -> str:
        """Name of the table, or of the part, for people."""
        return f"{self.name}{{{self.tag}}}" if self.tag else self.name

    @property
    def parts(self) -> "tuple[Table, ...]":
        """The parts of the table, each a table with keys of its own; the table itself if it is not divided.

        Of a table that grows, those that its rows are moved from come last.
        """
        return parts_of(self)

    @property
    def old(self) -> "Table":
        """The table that grows, with the parts from which its rows are moved."""
        return replace(self, partitions=self.growing_from, growing_from=0, is_left=True)

    def part_of(self, row_id: str) -> "Table":
        """Return the part of the table that has a row."""
        return self.parts[partition_of(row_id, self.partitions)]

    def divide(self, row_ids: Iterable[str]) -> "list[tuple[Table, list[str]]]":
        """Return the rows of each part that has any, in their order."""
        if self.partitions == 1:
            return [(self, [*row_ids])]
        parts = self.parts
        return [(parts[number], some) for number, some in divide_row_ids(row_ids, self.partitions).items()]

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
        near = nearest(name, [query.name for query in self.queries], 0.6)
        hint = f": did you mean {near}?" if near else ""
        raise ArgumentError(f"query {shorten(name)} is not in {self.setting}['queries']: found {found}{hint}")


@cache
def parts_of(table: Table) -> tuple[Table, ...]:
    """Return the parts of a table."""
    if table.growing_from:  # where how many rows are is not known: each half of the parts has half of the cap
        table = replace(table, max_rate=table.max_rate and table.max_rate / 2)
        return parts_of(replace(table, growing_from=0)) + parts_of(table.old)
    if table.partitions == 1:
        return (table,)
    rate = table.max_rate / table.partitions if table.max_rate else table.max_rate
    return tuple(replace(table, partitions=1, tag=tag, max_rate=rate) for tag in tags_of(table.partitions))


def parse_adaptive(setting: str, value: object) -> Adaptive:
    """Accept a dictionary of `min` and `max`, in seconds; min is below max."""
    if not isinstance(value, Mapping) or set(value) != {"min", "max"}:
        raise refusal(setting, value, 'a dictionary of seconds like {"min": 1, "max": 60}')
    bound = seconds(0.05, 86400)
    found = Adaptive(bound(f"{setting}['min']", value["min"]), bound(f"{setting}['max']", value["max"]))
    if found.min_s >= found.max_s:
        raise refusal(setting, value, "a min below max")
    return found
