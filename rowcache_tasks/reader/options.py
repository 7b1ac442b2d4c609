"""Own what a reader reads: the table's settings and the servers, from the configuration or from arguments. No I/O."""

from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from rowcache_tasks.config.settings import Table, load_settings, parse_settings
from rowcache_tasks.errors import ArgumentError, FillError
from rowcache_tasks.reader.read_through import ReadThrough
from rowcache_tasks.text import shorten

__all__ = ["Target", "check_client", "find_target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A table, and where it is."""

    table: Table
    url: str = field(repr=False)
    """Of Redis; not used with a client of the application."""
    options: ReadThrough
    """With the URL of the database, where there is one."""

    def open_origin(self) -> Any:
        """Return this process's Origin (origin.py), which brings SQLAlchemy when it is first used.

        Raises FillError when no database is known, ConfigError for a wrong URL.
        """
        url, options = self.options.database_url, self.options
        if url is None:
            raise FillError(
                f"{self.table.name} cannot be filled: no database is known: set rowcache_database_url, or give "
                "read_through=ReadThrough(database_url=…)"
            )
        module = import_module("rowcache_tasks.reader.fill.loader")
        return module.open_origin(self.table, url, options.timeout, options.concurrency)


def find_target(
    name: str, url: str | None, namespace: str | None, options: ReadThrough | None, *, has_client: bool
) -> Target:
    """Take the table from the configuration module, or, with a URL or a namespace, from those alone.

    Raises ConfigError for wrong settings, ArgumentError for a table that the settings do not have.
    """
    options = options or ReadThrough()
    if namespace is not None and url is None and not has_client:
        raise ArgumentError(
            f"namespace is {shorten(namespace)}, and no server is given: give url or client as well, or neither"
        )
    if options.when_redis_is_down and options.database_url is None and (url or namespace is not None):
        raise ArgumentError(
            "ReadThrough when_redis_is_down is set, and no database is known: give database_url as well"
        )
    if url is None and namespace is None:
        settings = load_settings()
        options = replace(options, database_url=options.database_url or settings.database_url)
        return Target(settings.table(name), settings.redis_url, options)
    tables = {name: {"table": name, "namespace": namespace or ""}}
    raw = {"rowcache_redis_url": url or "redis://localhost", "rowcache_tables": tables}
    if options.database_url is not None:
        raw["rowcache_database_url"] = options.database_url
    settings = parse_settings(raw)
    return Target(settings.table(name), settings.redis_url, options)


def check_client(client: object, url: str | None, kind: type, name: str) -> None:
    """Refuse a client of the wrong kind, or one beside a URL. Raises ArgumentError."""
    if client is not None and url is not None:
        raise ArgumentError("url and client are given: a client knows its server, leave the url out")
    if client is not None and not isinstance(client, kind):
        found = f"{type(client).__module__}.{type(client).__name__}"
        raise ArgumentError(f"client is a {found}: {name} takes a {kind.__module__}.{kind.__name__}")
