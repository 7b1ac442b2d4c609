"""Changed rows of tables of one PostgreSQL database, by the notifications of triggers."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.dialects import SourceColumn
from rowcache_tasks.database.engine import is_pooled
from rowcache_tasks.database.outage import source_errors
from rowcache_tasks.database.source import Source
from rowcache_tasks.database.statement import read_sql, statement
from rowcache_tasks.database.table import SourceTable
from rowcache_tasks.errors import ArgumentError, ConfigError, SourceError

PING_S = 10.0  # pause between two notifications to ourselves, which show that others arrive too
PONG_S = 5.0  # longest time that such a notification takes
PING = "ping "

Changes = list[str] | None  # row ids; None: of more rows than a notification has, or unknown


MANY = "many"  # payload in place of row ids: more than MAX_ROWS, or all
MAX_ROWS = 1000  # rows of one statement whose ids are sent
MAX_BYTES = 7900  # PostgreSQL sends payloads of less than 8000 bytes
EVENTS = {"insert": 4, "update": 16, "delete": 8, "truncate": 32}  # event -> its bit in pg_trigger.tgtype
TABLE_KINDS = ("r", "p")  # of pg_class.relkind: table, partitioned table


TRANSITION = {
    "insert": " REFERENCING NEW TABLE AS rowcache_new",
    "update": " REFERENCING OLD TABLE AS rowcache_old NEW TABLE AS rowcache_new",
    "delete": " REFERENCING OLD TABLE AS rowcache_old",
    "truncate": "",
}


class NotifyingTable(Source):
    """Table with triggers that notify of its changed rows."""

    def __init__(self, engine: Engine, settings: Table) -> None:
        super().__init__(engine, settings)
        self.name = settings.name
        self.channel = channel_of(settings)
        self.failure = f"{settings.setting}: cannot read {settings.table!r}"

    def sql(self) -> str:
        """Return the SQL of the triggers. Raises ArgumentError for a view, SourceError when unreachable."""
        self.load()
        return self._ask(partial(trigger_sql, self._settings))

    def check(self) -> None:
        """Raise ConfigError unless the triggers are installed, SourceError when unreachable."""
        self._ask(partial(check_triggers, self._settings))

    def row_ids(self, payload: str) -> Changes:
        """Return the row ids of a notification."""
        return self._read(lambda table: read_payload(table, payload))


class Listener:
    """Connection that receives the notifications of some tables; not thread-safe."""

    def __init__(self, engine: Engine, tables: Sequence[NotifyingTable]) -> None:
        self._engine = engine
        self._tables = {table.channel: table for table in tables}
        self._tables_by_name = {table.name: table for table in tables}
        self._failure = tables[0].failure
        self._connection: Any = None
        self._pinged_at = self._heard_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether notifications are received."""
        return self._connection is not None

    def open(self) -> None:
        """Listen. Raises ConfigError without triggers or behind a pooler, SourceError when unreachable."""
        for table in self._tables.values():
            table.load()
            table.check()
        if is_pooled(self._engine):
            raise ConfigError(
                "the URL of the database leads to a pooler that shares its sessions, through which no notification "
                "arrives: give this process the URL of the server itself, or follow by a column (--source watermark)"
            )
        with source_errors(self._engine, self._failure):
            pooled = self._engine.raw_connection()
            connection: Any = pooled.dbapi_connection
            pooled.detach()
            try:
                for channel in self._tables:
                    connection.execute(f'LISTEN "{channel}"')
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        self._ping()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def wait(self, timeout_s: float) -> list[tuple[str, int, str]]:
        """Return table, process of the server and payload of each notification of a packet; none after the timeout.

        Raises SourceError.
        """
        now = time.monotonic()
        if now > self._pinged_at + PING_S:
            for table in self._tables.values():
                table.check()
            self._ping()
        with source_errors(self._engine, self._failure):
            received = list(self._connection.notifies(timeout=timeout_s, stop_after=1))
        if not received and self._heard_at < self._pinged_at < now - PONG_S:
            raise SourceError("no notification arrives on the connection that listens")
        if any(notification.payload.startswith(PING) for notification in received):
            self._heard_at = time.monotonic()
        return [
            (self._tables[notification.channel].name, notification.pid, notification.payload)
            for notification in received
            if not notification.payload.startswith(PING)
        ]

    def row_ids(self, table: str, payload: str) -> Changes:
        """Return the row ids of a notification. Raises SourceError."""
        return self._tables_by_name[table].row_ids(payload)

    def _ping(self) -> None:
        self._pinged_at = time.monotonic()
        with source_errors(self._engine, self._failure), self._engine.connect() as connection:
            connection.execute(sa.select(sa.func.pg_notify(next(iter(self._tables)), PING)))


def channel_of(settings: Table) -> str:
    """Return the name of the channel and of the function: at most 63 bytes with the event behind it."""
    full = ".".join(filter(None, (settings.deployment, settings.name)))
    name = re.sub("[^A-Za-z0-9]", "_", full)[:36]
    digest = "" if name == full else "_" + hashlib.sha256(full.encode()).hexdigest()[:8]
    return f"rowcache_{name}{digest}"


def trigger_sql(settings: Table, table: SourceTable, connection: Connection) -> str:
    """Return the SQL that installs the triggers. Raises ArgumentError for a view."""
    relation = quoted_relation(table, connection)
    schema, name, kind = connection.execute(statement("trigger_place"), {"relation": relation}).one()
    if kind not in TABLE_KINDS:
        raise ArgumentError(
            f"{settings.setting}: {settings.table!r} is a view or a foreign table, whose changes no trigger sees: "
            "follow it by a column (--source watermark --column NAME)"
        )

    def quote(name: str) -> str:
        return connection.dialect.identifier_preparer.quote_identifier(name).replace("%%", "%")  # no parameters follow

    key = [table.columns[column] for column in table.key]
    place = {"relation": f"{quote(schema)}.{quote(name)}", "function": f"{quote(schema)}.{quote(channel_of(settings))}"}
    old, new = (_select(key, quote, rows) for rows in ("rowcache_old", "rowcache_new"))
    channel = f"'{channel_of(settings)}'"
    limits = {"max_rows": MAX_ROWS, "max_bytes": MAX_BYTES, "many": MANY}
    parts = [read_sql("trigger_function").format(**place, **limits, old=old, new=new, channel=channel)]
    for event, tables in TRANSITION.items():
        trigger = quote(f"{channel_of(settings)}_{event}")
        parts.append(read_sql("trigger").format(**place, trigger=trigger, event=event.upper(), tables=tables))
    return "".join([*parts, "COMMIT;\n"])


def check_triggers(settings: Table, table: SourceTable, connection: Connection) -> None:
    """Raise ConfigError unless the triggers are installed."""
    place = {"relation": quoted_relation(table, connection), "name": channel_of(settings)}
    found = 0
    for events in connection.scalars(statement("trigger_installed"), place):
        found |= events
    if missing := [event for event, bit in EVENTS.items() if not found & bit]:
        raise ConfigError(
            f"{settings.setting}: {settings.table!r} has no trigger that notifies of {', '.join(missing)}: "
            f"print the SQL with `rowcache follow {settings.name} --sql`, and run it as the owner of the table"
        )


def read_payload(table: SourceTable, payload: str) -> list[str] | None:
    """Return the row ids of a notification; None: many rows, or a payload that is not of these triggers."""
    try:
        keys = json.loads(payload)
        return [table.row_key.write(key) for key in keys if all(isinstance(part, str) for part in key)]
    except (ValueError, TypeError, ArithmeticError):
        return None


def quoted_relation(table: SourceTable, connection: Connection | Engine) -> str:
    """Return the name of the table as to_regclass reads it."""
    return connection.dialect.identifier_preparer.format_table(table.relation).replace("%%", "%")


def _select(key: Sequence[SourceColumn], quote: Callable[[str], str], rows: str) -> str:
    """Return the SELECT of the keys as JSON arrays of texts, as the driver would return them."""
    texts = ", ".join(_text(part, quote(part.name)) for part in key)
    there = " AND ".join(f"{quote(part.name)} IS NOT NULL" for part in key)
    return f"SELECT json_build_array({texts})::text AS k FROM {rows} WHERE {there} LIMIT {MAX_ROWS + 1}"  # noqa: S608


def _text(part: SourceColumn, column: str) -> str:
    if part.key_cast == 'pg_catalog."bytea"':
        return f"translate(encode({column}, 'base64'), E'\\n', '')"
    if part.key_cast == 'pg_catalog."bool"':
        return f"{column}::text"
    return f"format('%s', {column})"
