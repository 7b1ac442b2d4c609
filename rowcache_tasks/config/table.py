"""Table: one entry of rowcache_tables."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, NamedTuple

from rowcache_tasks.config import parse
from rowcache_tasks.config.parse import optional, refusal, seconds, whole
from rowcache_tasks.config.query import Query, parse_queries
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.errors.text import nearest, shorten, suggest
from rowcache_tasks.keys import BOOK_TABLE, Keys, divide_row_ids, partition_of, tags_of

AGE_ERROR_S = 1.0  # longest time from the beginning of a read to its commit
TARGET = 0.999  # of a table with max_staleness and no target
MAX_LISTED = 400  # characters of a list of names in an error


class Adaptive(NamedTuple):
    """Shortest and longest delay of a row; seconds."""

    min_s: float
    max_s: float


def parse_adaptive(setting: str, value: object) -> Adaptive:
    """Accept a dictionary of `min` and `max`, in seconds; min is below max."""
    if not isinstance(value, Mapping) or set(value) != {"min", "max"}:
        raise refusal(setting, value, 'a dictionary of seconds like {"min": 1, "max": 60}')
    bound = seconds(0.05, 86400)
    found = Adaptive(bound(f"{setting}['min']", value["min"]), bound(f"{setting}['max']", value["max"]))
    if found.min_s >= found.max_s:
        raise refusal(setting, value, "a min below max")
    return found


@dataclass(frozen=True, slots=True)
class Table:
    """One entry of rowcache_tables."""

    name: str
    """Name in the settings and in calls: RowCache("inv")."""
    table: Annotated[str, parse.parse_text]
    """Table or view in the database, "inventory" or "app.users"; with `schema`, its name alone."""
    namespace: Annotated[str, parse.parse_namespace] = ""
    """Part of every Redis key of the table."""
    key: Annotated[tuple[str, ...], parse.parse_names] = ()
    """Columns that identify a row; empty: the primary key."""
    columns: Annotated[tuple[str, ...], parse.parse_names] = ()
    """Columns of the JSON, in this order; empty: all."""
    ttl_s: Annotated[float | None, optional(seconds(0.001, 315_360_000))] = None
    """Expiry of a value that is not refreshed; None: it stays until the row is dropped."""
    missing_limit: Annotated[int, whole(1, 1_000_000)] = 5
    """Number of refreshes in a row that do not find the row in the database, after which it is dropped."""
    database: Annotated[str, parse.parse_text] = ""
    """Name of its database in rowcache_databases; empty: that of rowcache_database_url."""
    schema: Annotated[str, parse.parse_text] = ""
    """Schema of the table; empty: as `table` says, or the default one."""
    queries: Annotated[tuple[Query, ...], parse_queries] = ()
    """SELECTs that return rows to schedule."""
    max_staleness_s: Annotated[float | None, seconds(0.1, 86400)] = None
    """How old a value may get, as promised; seconds. None: nothing is promised."""
    target: Annotated[float | None, parse.parse_share] = None
    """Share of the rows for which that is promised, 0 to 1."""
    adaptive: Annotated[Adaptive | None, parse_adaptive] = None
    """Bounds of the delays of rows, which follow how often the rows change. None: delays are fixed."""
    max_rate: Annotated[float | None, parse.number("refreshes a second", 0.1, 1_000_000)] = None
    """Cap on claimed rows a second. None: no cap."""
    admission: Annotated[str, parse.choice("warn", "refuse")] = "warn"
    """What happens to schedule changes that the workers cannot keep: "warn" or "refuse"."""
    version: Annotated[str, parse.parse_text] = ""
    """Column that changes with each change of its row; empty: every row is read in full."""
    replica: Annotated[bool, parse.parse_flag] = False
    """Whether its database may be a replica: a value that was read too early is not committed."""
    partitions: Annotated[int, parse.parse_partitions] = 1
    """Number of parts with keys of their own, each in one slot of a cluster."""
    growing_from: Annotated[int, parse.parse_partitions] = 0
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


TABLE_OPTIONS = parse.parsers_of(Table)
"""Option -> field of Table, parser."""


def parse_tables(setting: str, raw: object) -> Mapping[str, Table]:
    """Validate rowcache_tables: a non-empty dictionary of name -> options, no two on the same keys."""
    if not isinstance(raw, Mapping) or not raw:
        raise refusal(setting, raw, 'a dictionary like {"inv": {"table": "inventory"}}')
    tables = {name: parse_table(f"{setting}[{shorten(name)}]", name, options) for name, options in raw.items()}
    names: dict[str, str] = {}
    for table in tables.values():
        for place in (table.namespace, *(part.place for part in table.parts)):
            other = names.setdefault(place, table.name)
            if other != table.name:
                raise ConfigError(
                    f"{setting}: {other!r} and {table.name!r} are on the same Redis keys "
                    f"(namespace {place!r}): set a different namespace for each table"
                )
    return tables


def parse_table(setting: str, name: object, raw: object) -> Table:
    """Validate one entry of rowcache_tables."""
    name = parse.parse_name(setting, "table", name)
    if not isinstance(raw, Mapping):
        raise refusal(setting, raw, 'a dictionary like {"table": "inventory"}')
    values: dict[str, Any] = {}
    for option, value in {"table": None, **raw}.items():
        if option not in TABLE_OPTIONS:
            raise ConfigError(f"{setting}: unknown option {shorten(option)}{suggest(option, TABLE_OPTIONS)}")
        field, accept = TABLE_OPTIONS[option]
        values[field] = accept(f"{setting}[{option!r}]", value)
    if "namespace" not in values and name != BOOK_TABLE:
        values["namespace"] = parse.parse_namespace(f"{setting}: 'namespace' is not given, and the name", name)
    if "max_staleness_s" in values:
        values.setdefault("target", TARGET)
    elif "target" in values:
        raise ConfigError(f"{setting}['target'] is set and 'max_staleness' is not: set both, or none")
    table = Table(name, **values)
    if table.partitions > 1 and "{" in table.namespace:
        raise ConfigError(f"{setting} has 'partitions', and {table.namespace!r} as its namespace: leave the braces out")
    parse.check_growth(setting, table.partitions, table.growing_from, is_replica=table.replica)
    for option, bound_s in (("max_staleness", table.max_staleness_s), ("ttl", table.ttl_s)):
        if table.adaptive and bound_s is not None and table.adaptive.max_s > bound_s:
            raise ConfigError(
                f"{setting}['adaptive'] has a max of {table.adaptive.max_s:g} s, above '{option}', {bound_s:g} s: "
                "rows would be refreshed too late; lower max, or raise the other"
            )
    return table
