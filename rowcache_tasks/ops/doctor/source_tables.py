"""Check of the database: reachable, a primary, all tables and queries valid."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rowcache_tasks.config.settings import Settings, Table
from rowcache_tasks.errors import ConfigError, SourceError
from rowcache_tasks.errors.text import redact, show_count
from rowcache_tasks.ops.finding import Finding, fail, ok, warn
from rowcache_tasks.ops.problem import show_lag

if TYPE_CHECKING:
    from sqlalchemy import Engine

CONNECTIONS = 4  # so many are looked at: an address may lead to a primary and replicas in turn
HELD_BYTES = 1_000_000_000  # more log of the database that a replication slot holds back is a finding


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
        from rowcache_tasks.database.engine import create_source_engine  # noqa: PLC0415 an extra
        from rowcache_tasks.database.source import Source  # noqa: PLC0415

        setting = settings.setting_of(url)
        engine = create_source_engine(url, statement_timeout_s=settings.lease_s, setting=setting, may_be_replica=True)
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
                yield fail(f"database at {redact(url)}: {error}: start it, or correct {setting}")
            else:
                queries = f" and {show_count(len(table.queries), 'query', 'queries')}" if table.queries else ""
                yield ok(f"database: {table.setting} is {table.table!r}, with its key and columns{queries}")
        yield from examine_server_kind(
            engine, redact(url), setting, may_be_replica=all(table.replica for table in tables)
        )
    finally:
        engine.dispose()


def examine_server_kind(engine: "Engine", where: str, setting: str, *, may_be_replica: bool) -> Iterator[Finding]:
    """Name a replica, a pooler, and replication slots that hold back much log."""
    from rowcache_tasks.database.engine import held_log, is_pooled, read_lags  # noqa: PLC0415 an extra

    try:
        if lags := read_lags(engine, CONNECTIONS):
            lag_s = max(math.inf if lag_s is None else lag_s for lag_s in lags)
            share = "" if len(lags) == CONNECTIONS else f" in {len(lags)} of {CONNECTIONS} connections"
            text = f"database at {where} is a replica{share}, {show_lag(lag_s)}"
            if may_be_replica:
                yield ok(f"{text}, as 'replica' of its tables allows")
            else:
                yield warn(
                    f"{text}: values may go back in time: name the primary in {setting}, or set 'replica' on its tables"
                )
        if is_pooled(engine):
            yield ok(
                f"database at {where} is a pooler that shares its sessions (transaction mode), which is supported: "
                "let its pool have a session for each worker process"
            )
        for slot, (held, state) in held_log(engine).items():
            if held > HELD_BYTES or state in {"unreserved", "lost"}:
                yield warn(
                    f"database at {where}: replication slot {slot} holds back {held / 1e6:,.1f} MB of its log"
                    f"{', which is lost in part' if state == 'lost' else ''}: the disk fills, or the slot is lost: "
                    f"start its reader (rowcache follow), or drop it: SELECT pg_drop_replication_slot('{slot}')"
                )
    except SourceError:
        return  # reported for each table, or a server without slots
