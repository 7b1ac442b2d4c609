"""Own the settings: read them from the configuration module, validate them, freeze them.

The only reader of configuration. Must not know Celery, Redis clients or SQLAlchemy, so that a web application
that only reads the cache stays light.
"""

import importlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rowcache_tasks.config.query import Query, parse_queries
from rowcache_tasks.config.redis_url import is_redis_url
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.keys import BROKER_PREFIXES, NAMESPACE, RESERVED_NAMESPACES, Keys
from rowcache_tasks.text import redact, shorten, suggest

MAX_BATCH_SIZE = 1000
"""A claim works through one batch while the server does nothing else: 1000 rows are about 5 ms."""

MAX_NAME = 100
"""Characters of a table's name: it is in every message, and a label of the metrics."""


@dataclass(frozen=True, slots=True)
class Table:
    """One cached table, as named in rowcache_tables."""

    name: str
    """What users type: RowCache("inv")."""
    table: str
    """The table or view in the database, "inventory" or "app.users"."""
    namespace: str = ""
    key: tuple[str, ...] = ()
    """The columns that identify a row; empty: the primary key."""
    columns: tuple[str, ...] = ()
    """The columns of the JSON, in this order; empty: all."""
    ttl_s: float | None = None
    """A value not refreshed for so long vanishes; None: it stays until the row is dropped."""
    missing_limit: int = 5
    """A row that was not found in the database so many times in a row is dropped."""
    queries: tuple[Query, ...] = ()
    """SELECTs that name rows to schedule."""

    @property
    def keys(self) -> Keys:
        """The table's keys in Redis."""
        return Keys.of(self.namespace)

    @property
    def setting(self) -> str:
        """How messages name the entry of this table in the configuration."""
        return f"rowcache_tables[{self.name!r}]"

    def query(self, name: str) -> Query:
        """Return a query by its name; raises ArgumentError that lists the names there are."""
        for query in self.queries:
            if query.name == name:
                return query
        found = ", ".join(repr(query.name) for query in self.queries)[:400] or "none"
        raise ArgumentError(f"query {shorten(name)} is not in {self.setting}['queries']: found {found}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, validated. Each is named rowcache_<field> in the configuration module; _s are seconds."""

    redis_url: str = field(repr=False)
    tables: Mapping[str, Table]
    database_url: str | None = field(default=None, repr=False)
    batch_size: int = 500
    lease_s: float = 30.0
    poll_interval_s: float = 0.05
    max_queue: int = 50
    max_backoff_s: float = 60.0
    start_timeout_s: float = 30.0

    def table(self, name: str) -> Table:
        """Return a table by its name; raises ArgumentError that lists the names there are."""
        if isinstance(name, str) and name in self.tables:
            return self.tables[name]
        raise ArgumentError(
            f"table {shorten(name)} is not in rowcache_tables: "
            f"found {', '.join(map(repr, self.tables))[:400]}; use one of these or add it"
        )


QUOTES = "'\""
SETTING_FIELDS = {f"rowcache_{field.name.removesuffix('_s')}": field.name for field in fields(Settings)}
TABLE_OPTIONS = ("table", "namespace", "key", "columns", "ttl", "missing_limit", "queries")


def load_settings() -> Settings:
    """Read the module named by CELERY_CONFIG_MODULE, default celeryconfig in the current directory."""
    name = os.environ.get("CELERY_CONFIG_MODULE") or "celeryconfig"
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ConfigError(
            f"configuration module {name!r} was not found in {here} or on the Python path: "
            "set CELERY_CONFIG_MODULE, or start in the directory that holds celeryconfig.py"
        ) from error
    finally:
        sys.path.remove(here)
    return parse_settings(vars(module))


def parse_settings(raw: Mapping[str, Any]) -> Settings:
    """Validate the rowcache_* entries of a mapping; others are ignored. Raises ConfigError, one line."""
    ours = {name: value for name, value in raw.items() if isinstance(name, str) and name.startswith("rowcache_")}
    given = {name: value for name, value in ours.items() if value is not None}
    for name in given:
        if name not in SETTING_FIELDS:
            raise ConfigError(f"unknown setting {shorten(name).strip(QUOTES)}{suggest(name, SETTING_FIELDS)}")
    values: dict[str, Any] = {SETTING_FIELDS[name]: PARSERS[name](name, value) for name, value in given.items()}
    for required in ("redis_url", "tables"):
        if required not in values:
            raise ConfigError(f"rowcache_{required} is not set: it is required in the configuration module")
    return Settings(**values)


def parse_tables(name: str, raw: object) -> Mapping[str, Table]:
    """Validate rowcache_tables: a non-empty dictionary of name -> options, no two on the same keys."""
    if not isinstance(raw, Mapping) or not raw:
        raise ConfigError(f'{name} is {shorten(raw)}: allowed is a dictionary like {{"inv": {{"table": "inventory"}}}}')
    tables = {table: parse_table(table, options) for table, options in raw.items()}
    owners: dict[str, str] = {}
    for table in tables.values():
        if table.namespace in owners:
            raise ConfigError(
                f"{name}: {owners[table.namespace]!r} and {table.name!r} are on the same Redis keys "
                f"(namespace {table.namespace!r}): give each table a namespace of its own"
            )
        owners[table.namespace] = table.name
    return tables


def parse_table(name: object, raw: object) -> Table:
    """Validate one entry of rowcache_tables."""
    setting = f"rowcache_tables[{shorten(name)}]"
    if not isinstance(name, str) or not name or not name.isprintable() or len(name) > MAX_NAME:
        raise ConfigError(
            f"{setting}: a table's name must be a non-empty string of up to {MAX_NAME} printable characters"
        )
    if not isinstance(raw, Mapping):
        raise ConfigError(f'{setting} is {shorten(raw)}: allowed is a dictionary like {{"table": "inventory"}}')
    for option in raw:
        if option not in TABLE_OPTIONS:
            raise ConfigError(f"{setting}: unknown option {shorten(option)}{suggest(option, TABLE_OPTIONS)}")
    ttl = raw.get("ttl")
    return Table(
        name=name,
        table=_text(f"{setting}['table']", raw.get("table")),
        namespace=_namespace(f"{setting}['namespace']", raw.get("namespace", "")),
        key=_names(f"{setting}['key']", raw.get("key")),
        columns=_names(f"{setting}['columns']", raw.get("columns")),
        ttl_s=None if ttl is None else _seconds(0.001, 10 * 365 * 86400)(f"{setting}['ttl']", ttl),
        missing_limit=_whole(1, 1_000_000)(f"{setting}['missing_limit']", raw.get("missing_limit", 5)),
        queries=parse_queries(f"{setting}['queries']", raw.get("queries")),
    )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not is_storable(value):
        raise ConfigError(f"{name} is {shorten(value)}: allowed is a non-empty string")
    return value


def _url(name: str, value: object) -> str:
    """Validate a URL. What may hold a password without looking like a URL is not shown."""
    if isinstance(value, str) and value.isprintable():
        return _text(name, value)
    found = shorten(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
    raise ConfigError(f"{name} is {found}: allowed is a non-empty string of printable characters")


def _names(name: str, value: object) -> tuple[str, ...]:
    """Validate column names: None, one name, or a list of different names."""
    if value is None:
        return ()
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or not all(map(is_storable, names)):
        raise ConfigError(f"{name} is {shorten(value)}: allowed is a column name or a list of column names")
    if len(set(names)) != len(names):
        raise ConfigError(f"{name} is {shorten(value)}: a column is named twice")
    return tuple(names)


def is_storable(name: object) -> bool:
    """Whether a database could have something of this name."""
    return isinstance(name, str) and name != "" and not re.search("[\0\ud800-\udfff]", name)


def _namespace(name: str, value: object) -> str:
    if not isinstance(value, str) or not NAMESPACE.fullmatch(value):
        raise ConfigError(f"{name} is {shorten(value)}: allowed are letters, digits, '_', '.' and '-', or nothing")
    if value in RESERVED_NAMESPACES or value.startswith(BROKER_PREFIXES):
        raise ConfigError(f"{name} is {value!r}: this name is a Redis key of another kind; choose another")
    return value


def _redis_url(name: str, value: object) -> str:
    url = _url(name, value)
    if not is_redis_url(url):
        raise ConfigError(
            f"{name} is {shorten(redact(url))}: allowed is redis://host:port/db, rediss://… or unix:///path?db=0"
            " (one server or a failover pair; not a Redis Cluster)"
        )
    return url


def _seconds(low: float, high: float) -> Callable[[str, object], float]:
    def parse(name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ConfigError(f"{name} is {shorten(value)}: allowed is a number of seconds from {low:g} to {high:g}")
        return float(value)

    return parse


def _whole(low: int, high: int) -> Callable[[str, object], int]:
    def parse(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(f"{name} is {shorten(value)}: allowed is a whole number from {low} to {high}")
        return value

    return parse


PARSERS: Mapping[str, Callable[[str, Any], object]] = {
    "rowcache_redis_url": _redis_url,
    "rowcache_database_url": _url,
    "rowcache_tables": parse_tables,
    "rowcache_batch_size": _whole(1, MAX_BATCH_SIZE),
    "rowcache_lease": _seconds(1, 3600),
    "rowcache_poll_interval": _seconds(0.001, 1),
    "rowcache_max_queue": _whole(1, 1_000_000),
    "rowcache_max_backoff": _seconds(0.1, 86400),
    "rowcache_start_timeout": _seconds(0, 3600),
}
