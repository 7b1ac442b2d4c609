"""Changed rows of tables of one PostgreSQL database, by the notifications of triggers."""

import secrets
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.server import is_pooled
from rowcache_tasks.database.source import Source
from rowcache_tasks.database.table import SourceTable
from rowcache_tasks.database.trigger import channel_of, check_triggers, read_payload, trigger_sql
from rowcache_tasks.errors import ConfigError, SourceError

PING_S = 10.0  # pause between two notifications to ourselves, which show that others arrive too
PONG_S = 5.0  # longest time that such a notification takes
PING = "ping "

Changes = list[str] | None  # row ids; None: of more rows than a notification has, or unknown


class NotifyingTable(Source):
    """Table with triggers that notify of its changed rows."""

    def __init__(self, engine: Engine, settings: Table) -> None:
        super().__init__(engine, settings)
        self.name = settings.name
        self.channel = channel_of(settings)

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

    def notify(self, payload: str) -> None:
        """Send a notification."""

        def send(_table: SourceTable) -> None:
            with self._engine.connect() as connection:
                connection.execute(sa.select(sa.func.pg_notify(self.channel, payload)))

        self._read(send)

    def listen(self, tables: Sequence["NotifyingTable"]) -> Any:
        """Open a connection of the driver that listens to the channels of tables of the same database."""
        with self._wrapped_errors():
            pooled = self._engine.raw_connection()
            connection: Any = pooled.dbapi_connection
            pooled.detach()
            try:
                for table in tables:
                    connection.execute(f'LISTEN "{table.channel}"')
            except BaseException:
                connection.close()
                raise
            return connection

    def receive(self, connection: Any, timeout_s: float) -> list[Any]:
        """Wait for notifications; return those of one packet."""
        with self._wrapped_errors():
            return list(connection.notifies(timeout=timeout_s, stop_after=1))


class Listener:
    """Connection that receives the notifications of some tables; not thread-safe."""

    def __init__(self, engine: Engine, tables: Sequence[NotifyingTable]) -> None:
        self._engine = engine
        self._tables = {table.channel: table for table in tables}
        self._first = tables[0]
        self._connection: Any = None
        self._token = PING + secrets.token_hex(8)
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
        self._connection = self._first.listen(list(self._tables.values()))
        self._ping()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def wait(self, timeout_s: float) -> Iterator[tuple[str, Changes]]:
        """Yield the table and rows of each notification of a packet; none after the timeout. Raises SourceError."""
        now = time.monotonic()
        if now > self._pinged_at + PING_S:
            for table in self._tables.values():
                table.check()
            self._ping()
        received = self._first.receive(self._connection, timeout_s)
        if not received and self._heard_at < self._pinged_at < now - PONG_S:
            raise SourceError("no notification arrives on the connection that listens")
        for notification in received:
            if notification.payload.startswith(PING):
                if notification.payload == self._token:
                    self._heard_at = time.monotonic()
            else:
                table = self._tables[notification.channel]
                yield table.name, table.row_ids(notification.payload)

    def _ping(self) -> None:
        self._pinged_at = time.monotonic()
        self._first.notify(self._token)
