"""Settings and tables, read from the configuration module."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rowcache_tasks.config.parse import (
    check_growth,
    choice,
    number,
    parse_deployment,
    parse_flag,
    parse_name,
    parse_names,
    parse_namespace,
    parse_partitions,
    parse_share,
    parse_text,
    parse_url,
    refusal,
    seconds,
    whole,
)
from rowcache_tasks.config.query import parse_queries
from rowcache_tasks.config.redis_url import parse_servers_url, split_servers
from rowcache_tasks.config.source import read_given, read_module, read_settings
from rowcache_tasks.config.table import MAX_LISTED, TARGET, parse_adaptive
from rowcache_tasks.config.table import Table as Table  # noqa: PLC0414 exported beside Settings
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.errors.text import nearest, one_line, shorten, suggest
from rowcache_tasks.keys import BOOK_TABLE, DeploymentNames

MAX_BATCH_SIZE = 1000  # claiming one batch keeps the server busy: 1000 rows take about 5 ms


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, validated: rowcache_<field> in the configuration module. Fields in _s are seconds."""

    redis_url: str = field(repr=False)
    """URL of the cache: redis://, rediss://, unix:// or redis+sentinel://."""
    tables: Mapping[str, Table]
    """Name -> options of a table."""
    database_url: str | None = field(default=None, repr=False)
    """SQLAlchemy URL of the database; only workers, seeds and readers that fill rows need it."""
    databases: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Name -> SQLAlchemy URL, of tables that name another database."""
    batch_size: int = 500
    """Rows of one claim. Up to four claims share a task and a SELECT."""
    lease_s: float = 30.0
    """Seconds after which a claimed row that was not committed is due again."""
    poll_interval_s: float = 0.05
    """Seconds within which a change by a foreign client is noticed."""
    max_queue: int = 50
    """Waiting batches above which dispatchers stop claiming."""
    max_backoff_s: float = 60.0
    """Longest pause, in seconds, between two tries of a row that fails."""
    start_timeout_s: float = 30.0
    """Seconds to wait at start for Redis, the broker and the database."""
    alive_file: str | None = None
    """File that a process touches every few seconds while it works."""
    log_format: str = "text"
    """Of processes of Celery: "text" or "json"."""
    deployment: str = ""
    """Part of the names of queues, and of keys that are of all tables; empty: none."""
    replicas: int = 0
    """Number of replicas of Redis that have a schedule change before it counts as made."""

    @property
    def names(self) -> DeploymentNames:
        """Keys and queues of the deployment as a whole."""
        return DeploymentNames.of(self.deployment)

    def url_of(self, table: Table) -> str | None:
        """Return the URL of a table's database; None when it is not set."""
        return self.databases[table.database] if table.database else self.database_url

    def setting_of(self, url: str | None) -> str:
        """Return the place of a database's URL, for messages."""
        name = next((name for name, other in self.databases.items() if other == url), "")
        return f"rowcache_databases[{name!r}]" if name and url != self.database_url else "rowcache_database_url"

    def by_database(self) -> dict[str | None, list[Table]]:
        """Return the tables of each database, by its URL."""
        found: dict[str | None, list[Table]] = {}
        for table in self.tables.values():
            found.setdefault(self.url_of(table), []).append(table)
        return found

    def table(self, name: str) -> Table:
        """Return a table by its name; raises ArgumentError, which lists the tables."""
        if isinstance(name, str) and name in self.tables:
            return self.tables[name]
        near = nearest(name, self.tables, 0.6)
        raise ArgumentError(
            f"table {shorten(name)} is not in rowcache_tables: found {', '.join(map(repr, self.tables))[:MAX_LISTED]}"
            + (f": did you mean {near}?" if near else "; use one of these or add it")
        )


Parser = Callable[[str, Any], object]  # of a value; the first argument is the name of its setting, for the ConfigError

TABLE_OPTIONS: Mapping[str, tuple[str, Parser]] = {
    "table": ("table", parse_text),
    "namespace": ("namespace", parse_namespace),
    "key": ("key", parse_names),
    "columns": ("columns", parse_names),
    "ttl": ("ttl_s", lambda setting, value: None if value is None else seconds(0.001, 315_360_000)(setting, value)),
    "missing_limit": ("missing_limit", whole(1, 1_000_000)),
    "database": ("database", parse_text),
    "schema": ("schema", parse_text),
    "queries": ("queries", parse_queries),
    "version": ("version", parse_text),
    "max_staleness": ("max_staleness_s", seconds(0.1, 86400)),
    "target": ("target", parse_share),
    "partitions": ("partitions", parse_partitions),
    "replica": ("replica", parse_flag),
    "growing_from": ("growing_from", parse_partitions),
    "adaptive": ("adaptive", parse_adaptive),
    "admission": ("admission", choice("warn", "refuse")),
    "max_rate": ("max_rate", number("refreshes a second", 0.1, 1_000_000)),
}
"""Option -> field of Table, parser."""


def load_settings(app: Any = None) -> Settings:
    """Read the settings of `app`, else of the installed one, else of CELERY_CONFIG_MODULE. Raises ConfigError."""
    return parse_settings(read_settings(SETTINGS) if app is None else read_given(SETTINGS, app))


def load_module() -> Settings:
    """Read the configuration module, whatever application is installed. Raises ConfigError."""
    return parse_settings(read_module(SETTINGS))


def parse_settings(raw: Mapping[str, Any]) -> Settings:
    """Validate the rowcache_* entries of a mapping; None counts as not set. Raises ConfigError, one line."""
    values: dict[str, Any] = {}
    for name, value in raw.items():
        if not isinstance(name, str) or not name.startswith("rowcache_") or value is None:
            continue
        if name not in SETTINGS:
            raise ConfigError(f"unknown setting {one_line(name, 80)}{suggest(name, SETTINGS)}")
        target, parse = SETTINGS[name]
        values[target] = parse(name, value)
    for required in ("redis_url", "tables"):
        if required not in values:
            raise ConfigError(
                f"rowcache_{required} is not set: it is required in the configuration module or in the application"
            )
    shared = {name: values[name] for name in ("deployment", "replicas") if name in values}
    values["tables"] = {name: replace(table, **shared) for name, table in values["tables"].items()}
    settings = Settings(**values)
    check_places(settings)
    for table in settings.tables.values():
        if table.database and table.database not in settings.databases:
            names = suggest(table.database, settings.databases) if settings.databases else ", which is not set"
            raise ConfigError(
                f"{table.setting}['database'] is {shorten(table.database)}: it is not in rowcache_databases{names}"
            )
    return settings


def check_places(settings: Settings) -> None:
    """Refuse a table whose keys would lie on several servers."""
    urls, is_cluster = split_servers(settings.redis_url)
    for table in settings.tables.values():
        if (is_cluster or len(urls) > 1) and 1 in {table.partitions, table.growing_from} and "{" not in table.namespace:
            found = "'growing_from': 1" if table.growing_from else "neither 'partitions' nor a namespace with braces"
            raise ConfigError(
                f"{table.setting} has {found}, and rowcache_redis_url names "
                "several servers: set 'partitions' (as 32), or a 'namespace' such as '{rows}', whose keys are on one"
            )


def parse_databases(setting: str, raw: object) -> Mapping[str, str]:
    """Validate rowcache_databases: a dictionary of name -> SQLAlchemy URL."""
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{setting} is a {type(raw).__name__}: allowed is a dictionary of name -> SQLAlchemy URL")
    return {
        parse_name(setting, "database", name): parse_url(f"{setting}[{shorten(name)}]", url)
        for name, url in raw.items()
    }


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
    name = parse_name(setting, "table", name)
    if not isinstance(raw, Mapping):
        raise refusal(setting, raw, 'a dictionary like {"table": "inventory"}')
    values: dict[str, Any] = {}
    for option, value in {"table": None, **raw}.items():
        if option not in TABLE_OPTIONS:
            raise ConfigError(f"{setting}: unknown option {shorten(option)}{suggest(option, TABLE_OPTIONS)}")
        target, parse = TABLE_OPTIONS[option]
        values[target] = parse(f"{setting}[{option!r}]", value)
    if "namespace" not in values and name != BOOK_TABLE:
        values["namespace"] = parse_namespace(f"{setting}: 'namespace' is not given, and the name", name)
    if "max_staleness_s" in values:
        values.setdefault("target", TARGET)
    elif "target" in values:
        raise ConfigError(f"{setting}['target'] is set and 'max_staleness' is not: set both, or none")
    table = Table(name, **values)
    if table.partitions > 1 and "{" in table.namespace:
        raise ConfigError(f"{setting} has 'partitions', and {table.namespace!r} as its namespace: leave the braces out")
    check_growth(setting, table.partitions, table.growing_from, is_replica=table.replica)
    for option, bound_s in (("max_staleness", table.max_staleness_s), ("ttl", table.ttl_s)):
        if table.adaptive and bound_s is not None and table.adaptive.max_s > bound_s:
            raise ConfigError(
                f"{setting}['adaptive'] has a max of {table.adaptive.max_s:g} s, above '{option}', {bound_s:g} s: "
                "rows would be refreshed too late; lower max, or raise the other"
            )
    return table


SETTINGS: Mapping[str, tuple[str, Parser]] = {
    "rowcache_redis_url": ("redis_url", parse_servers_url),
    "rowcache_tables": ("tables", parse_tables),
    "rowcache_database_url": ("database_url", parse_url),
    "rowcache_databases": ("databases", parse_databases),
    "rowcache_batch_size": ("batch_size", whole(1, MAX_BATCH_SIZE)),
    "rowcache_lease": ("lease_s", seconds(1, 3600)),
    "rowcache_poll_interval": ("poll_interval_s", seconds(0.001, 1)),
    "rowcache_max_queue": ("max_queue", whole(1, 1_000_000)),
    "rowcache_max_backoff": ("max_backoff_s", seconds(0.1, 86400)),
    "rowcache_start_timeout": ("start_timeout_s", seconds(0, 3600)),
    "rowcache_alive_file": ("alive_file", parse_text),
    "rowcache_log_format": ("log_format", choice("text", "json")),
    "rowcache_deployment": ("deployment", parse_deployment),
    "rowcache_replicas": ("replicas", whole(0, 100)),
}
"""Setting -> field of Settings, parser."""
