"""Settings and tables, read from the configuration module."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from rowcache_tasks.config import parse
from rowcache_tasks.config.redis_url import parse_servers_url, split_servers
from rowcache_tasks.config.source import read_given, read_module, read_settings
from rowcache_tasks.config.table import MAX_LISTED, parse_tables
from rowcache_tasks.config.table import Table as Table  # noqa: PLC0414 exported beside Settings
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.errors.text import nearest, one_line, shorten, suggest
from rowcache_tasks.keys import DeploymentNames

MAX_BATCH_SIZE = 1000  # claiming one batch keeps the server busy: 1000 rows take about 5 ms


def parse_databases(setting: str, raw: object) -> Mapping[str, str]:
    """Validate rowcache_databases: a dictionary of name -> SQLAlchemy URL."""
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{setting} is a {type(raw).__name__}: allowed is a dictionary of name -> SQLAlchemy URL")
    return {
        parse.parse_name(setting, "database", name): parse.parse_url(f"{setting}[{shorten(name)}]", url)
        for name, url in raw.items()
    }


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, validated: rowcache_<field> in the configuration module. Fields in _s are seconds."""

    redis_url: Annotated[str, parse_servers_url] = field(repr=False)
    """URL of the cache: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://; or a list of URLs."""
    tables: Annotated[Mapping[str, Table], parse_tables]
    """Name -> options of a table."""
    database_url: Annotated[str | None, parse.parse_url] = field(default=None, repr=False)
    """SQLAlchemy URL of the database; only workers, seeds and readers that fill rows need it."""
    databases: Annotated[Mapping[str, str], parse_databases] = field(default_factory=dict, repr=False)
    """Name -> SQLAlchemy URL, of tables that name another database."""
    batch_size: Annotated[int, parse.whole(1, MAX_BATCH_SIZE)] = 500
    """Rows of one claim. Up to four claims share a task and a SELECT."""
    lease_s: Annotated[float, parse.seconds(1, 3600)] = 30.0
    """Seconds after which a claimed row that was not committed is due again, at the latest."""
    poll_interval_s: Annotated[float, parse.seconds(0.001, 1)] = 0.05
    """Seconds within which a change by a foreign client is noticed."""
    max_queue: Annotated[int, parse.whole(1, 1_000_000)] = 50
    """Waiting batches above which dispatchers stop claiming."""
    max_backoff_s: Annotated[float, parse.seconds(0.1, 86400)] = 60.0
    """Longest pause, in seconds, between two tries of a row that fails."""
    start_timeout_s: Annotated[float, parse.seconds(0, 3600)] = 30.0
    """Seconds to wait at start for Redis, the broker and the database."""
    alive_file: Annotated[str | None, parse.parse_text] = None
    """File that a process touches every few seconds while it works."""
    log_format: Annotated[str, parse.choice("text", "json")] = "text"
    """Of processes of Celery: "text" or "json"."""
    deployment: Annotated[str, parse.parse_deployment] = ""
    """Part of the names of queues, and of keys that are of all tables; empty: none."""
    replicas: Annotated[int, parse.whole(0, 100)] = 0
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


SETTINGS = parse.parsers_of(Settings, "rowcache_")
"""Setting -> field of Settings, parser."""


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
