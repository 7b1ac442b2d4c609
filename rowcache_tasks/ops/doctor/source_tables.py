"""Check of the database: reachable, all tables and queries valid."""

from collections.abc import Iterator, Sequence

from rowcache_tasks.config.settings import Settings, Table
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.errors import ConfigError, SourceError
from rowcache_tasks.ops.finding import Finding, fail, ok, warn
from rowcache_tasks.text import redact, show_count

__all__ = ["examine_database"]


def examine_database(settings: Settings) -> Iterator[Finding]:
    """Look up every table; a machine without workers needs no database URL."""
    for url, tables in settings.by_database().items():
        yield from examine_tables(settings, url, tables)


def examine_tables(settings: Settings, url: str | None, tables: Sequence[Table]) -> Iterator[Finding]:
    """Look up the tables of one database."""
    if url is None:
        yield warn("database: rowcache_database_url is not set here, so it was not checked; only workers need it")
        return
    try:
        engine = create_source_engine(url, statement_timeout_s=settings.lease_s)
    except ConfigError as error:
        yield fail(f"database: {error}")
        return
    try:
        for table in tables:
            try:
                source = Source(engine, table)
                source.load()
                for query in table.queries:
                    source.check_query(query)
            except ConfigError as error:
                yield fail(f"database: {error}")
            except SourceError as error:
                yield fail(f"database at {redact(url)}: {error}: start it, or correct rowcache_database_url")
            else:
                queries = f" and {show_count(len(table.queries), 'query', 'queries')}" if table.queries else ""
                yield ok(f"database: {table.setting} is {table.table!r}, with its key and columns{queries}")
    finally:
        engine.dispose()
