"""Rows and row ids of one table, read from the database."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError

from rowcache_tasks.config.query import Query
from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.dialects import SelectByKeys, dialect_of
from rowcache_tasks.database.keys import QueryRows
from rowcache_tasks.database.lookup import Fetched, Found, lookup
from rowcache_tasks.database.outage import Outage, original, source_errors
from rowcache_tasks.database.table import SourceTable, load_table
from rowcache_tasks.errors import ConfigError, SourceError
from rowcache_tasks.errors.text import MAX_TEXT, one_line
from rowcache_tasks.schedule.position import ReadPosition

logger = logging.getLogger(__name__)

QUOTED = re.compile(r"(['\"]).*\1", re.DOTALL)

T = TypeVar("T")
Positions = list[ReadPosition] | None
CATALOG_AGE_S = 10.0  # the catalog is looked up again after this time, for new columns and types


class Source:
    """One table of the database. No I/O at construction.

    The catalog is read by `load`, or at the first use; later every CATALOG_AGE_S, and when a statement does not fit it.
    """

    def __init__(self, engine: Engine, settings: Table) -> None:
        self._engine = self.engine = engine
        self._settings = settings
        self._dialect = dialect_of(engine.dialect.name)
        self._dialect.is_located = settings.replica
        self._driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self._table: SourceTable | None = None
        self._looked_up_at = 0.0
        self._outage = Outage()

    def load(self) -> None:
        """Read the catalog. Raises ConfigError when it does not fit the settings, SourceError when unreachable."""
        with self._wrapped_errors():
            self._load()

    def fetch(self, row_ids: Sequence[str], positions: Positions = None) -> Fetched:
        """Read rows with one SELECT; more only to single out rows that make it fail.

        A row id that has no key, or whose row cannot be read, is in `errors` and holds up no other. Raises
        SourceError when the database as a whole cannot be read. Of a table with "replica", the bounds of each SELECT
        are appended to `positions`, as far as the database has them.
        """

        def fetch(table: SourceTable) -> Fetched:
            keys, errors = table.row_key.parse_all(row_ids)
            found = self._lookup(keys, table.select_rows, table.key_of, positions)
            if table.has_hidden_key:
                found.rows = {row_id: row[: table.width] for row_id, row in found.rows.items()}
            return Fetched(found.rows, found.missing, found.errors | errors, encoder=table.encoder)

        return self._read(fetch)

    def shape(self) -> str:
        """Return the digest of the columns of a table with versions; "" for a table without."""
        return self._read(lambda table: table.versions.shape if table.versions else "")

    def fetch_versions(self, row_ids: Sequence[str], positions: Positions = None) -> dict[str, bytes]:
        """Read versions with one SELECT: row id -> the beginning of the JSON of the row, up to its first comma.

        Rows without a version, and those that are missing or cannot be read, are left out. Raises SourceError when the
        database as a whole cannot be read.
        """

        def fetch(table: SourceTable) -> dict[str, bytes]:
            assert table.versions is not None  # noqa: S101 - the caller has its shape
            keys, _ = table.row_key.parse_all(row_ids)
            found = self._lookup(keys, table.versions.select, table.versions.key_of, positions).rows
            values, _ = table.versions.encoder.encode_all({row_id: row[:1] for row_id, row in found.items()})
            return {row_id: value[:-1] + b"," for row_id, value in values.items() if not value.endswith(b":null}")}

        return self._read(fetch)

    def find_missing(self, row_ids: Sequence[str]) -> list[str]:
        """Return the row ids without a row or without a key, by one SELECT of keys. Raises SourceError."""

        def find_missing(table: SourceTable) -> set[str]:
            keys, errors = table.row_key.parse_all(row_ids)
            found = self._lookup(keys, table.select_keys, table.row_key.getter(range(table.row_key.width)))
            return {*found.missing, *errors}

        missing = self._read(find_missing)
        return [row_id for row_id in row_ids if row_id in missing]

    def find_mistakes(self, row_ids: Sequence[str]) -> dict[str, str]:
        """Return the row ids that are no key, or another text for one, each with the reason."""
        return self._read(lambda table: table.row_key.mistakes(row_ids))

    def stream_row_ids(self, size: int) -> Iterator[list[str]]:
        """Yield the row ids of the whole table, `size` at a time, in no order, in bounded memory.

        One read-only transaction with a server-side cursor. Rows whose key is NULL in part, or an empty text, have no
        row id and are left out.
        """
        empty = 0
        with self._stream() as (table, connection), connection.execute(table.all_keys) as result:
            for rows in result.yield_per(size).partitions():
                row_ids = list(filter(None, map(table.row_key.write, rows)))
                empty += len(rows) - len(row_ids)
                if row_ids:
                    yield row_ids
        if empty:
            logger.warning("%s: left out %d row(s) whose key is an empty text", self._settings.setting, empty)

    def stream_query(self, query: Query, size: int) -> Iterator[list[tuple[str, float | None]]]:
        """Yield the row ids of a query, each with its delay or None. Raises ConfigError for a wrong value."""
        with (
            self._stream(query) as (table, connection),
            connection.execution_options(no_parameters=True).exec_driver_sql(query.sql) as result,
        ):
            reader = QueryRows(query, table.row_key, len(result.keys()))
            for rows in result.yield_per(size).partitions():
                if found := list(filter(None, map(reader.read, rows))):
                    yield found

    def check_query(self, query: Query) -> None:
        """Check that a query can be run, without running it. Raises ConfigError, or SourceError when unreachable."""
        row_key = self._read(lambda table: table.row_key)
        statement = f"SELECT * FROM (\n{query.sql}\n) AS wanted WHERE 1 = 0"  # noqa: S608 from the settings
        try:
            with self._wrapped_errors(query), self._dialect.transaction(self._engine) as connection:
                result = connection.execution_options(no_parameters=True).exec_driver_sql(statement)
                QueryRows(query, row_key, len(result.keys()))
        except SourceError as error:
            self.load()  # raises SourceError when the database, and not the query, is at fault
            raise ConfigError(str(error)) from error

    def count_rows(self) -> int | None:
        """Count the rows; None when that takes longer than a statement may. Their keys can be streamed all the same."""
        with suppress(SourceError):
            return self._ask(lambda table, asked: asked.scalar(select(func.count()).select_from(table.relation)) or 0)
        return None

    def _current(self) -> SourceTable:
        """Return the table as it was CATALOG_AGE_S ago or later."""
        if self._table is None:
            return self._load()
        if time.monotonic() - self._looked_up_at > CATALOG_AGE_S:
            with suppress(ConfigError):  # the statements fail with the reason, or are still good
                return self._load()
            self._looked_up_at = time.monotonic()
        return self._table

    def _load(self) -> SourceTable:
        """Read the catalog, once more with a fresh connection when the pooled one turned out to be dead."""
        for is_last in (False, True):
            try:
                with self._dialect.transaction(self._engine) as connection:
                    self._table = load_table(self._settings, self._dialect, connection)
                break
            except DBAPIError as error:
                if is_last or not error.connection_invalidated:
                    raise
        self._looked_up_at = time.monotonic()
        assert self._table is not None  # noqa: S101 - the loop ends with it, or raises
        return self._table

    def _read(self, read: Callable[[SourceTable], T]) -> T:
        """Read with the statements of the table; once more after a look at the catalog, if they may not fit it.

        So also when the connection was dead: the database was restarted, and the table may be another one. A table that
        failed slowly is not read again for a while, so that it leaves the process to the others.
        """
        with self._outage.watch((SourceError,)), self._wrapped_errors():
            try:
                return read(self._current())
            except (DBAPIError, self._driver_error) as error:
                is_dead = isinstance(error, DBAPIError) and error.connection_invalidated
                if not is_dead and not self._dialect.is_catalog_error(original(error)):
                    raise
            try:
                table = self._load()
            except ConfigError as error:
                raise SourceError(str(error)) from error
            return read(table)

    def _ask(self, ask: Callable[[SourceTable, Connection], T]) -> T:
        """Read by a function of the table and a connection in a transaction."""

        def read(table: SourceTable) -> T:
            with self._dialect.transaction(self._engine) as connection:
                return ask(table, connection)

        return self._read(read)

    def _lookup(
        self, keys: dict[str, Any], select: SelectByKeys, key_of: Callable[[Any], Any], positions: Positions = None
    ) -> Found:
        def select_batch(batch: list[Any]) -> Sequence[Any]:
            with self._engine.connect() as connection:
                rows = select(connection, batch)
                if positions is not None and ReadPosition in connection.info:
                    positions.append(connection.info[ReadPosition])
                return rows

        return lookup(keys, select_batch, key_of, self._row_reason)

    @contextmanager
    def _stream(self, query: Query | None = None) -> Iterator[tuple[SourceTable, Connection]]:
        """Open a connection whose results are read page by page."""
        with self._wrapped_errors(query):
            table = self._load()  # also replaces dead connections, which a scan could not retry
            with self._dialect.transaction(self._engine) as connection:
                self._dialect.set_up_stream(connection)
                yield table, connection.execution_options(stream_results=True)

    def _row_reason(self, error: Exception) -> str | None:
        """Return why a row cannot be read, without quoting values; None when no single row is the cause."""
        if isinstance(error, DBAPIError | self._driver_error):
            if getattr(error, "connection_invalidated", False) or not self._dialect.is_row_error(original(error)):
                return None
            words = QUOTED.sub("…", self._dialect.message(original(error)))
            return one_line(f"the database cannot read the row: {words}", MAX_TEXT)
        if isinstance(error, ValueError | OverflowError):
            return f"the driver cannot read the row: {type(error).__name__}"
        return None

    def _wrapped_errors(self, query: Query | None = None) -> AbstractContextManager[None]:
        if query is not None:
            return source_errors(self._engine, f"{query.setting}: cannot run the statement")
        return source_errors(self._engine, f"{self._settings.setting}: cannot read {self._settings.table!r}")
