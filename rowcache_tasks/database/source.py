"""Rows and row ids of one table, read from the database."""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from rowcache_tasks.config.query import Query
from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.dialects import SelectByKeys, dialect_of
from rowcache_tasks.database.encoding import RowEncoder
from rowcache_tasks.database.lookup import Found, lookup
from rowcache_tasks.database.query_rows import QueryRows
from rowcache_tasks.database.table import SourceTable, load_table
from rowcache_tasks.errors import ConfigError, SourceError
from rowcache_tasks.text import MAX_TEXT, one_line

logger = logging.getLogger(__name__)

QUOTED = re.compile(r"(['\"]).*\1", re.DOTALL)

T = TypeVar("T")


class Source:
    """One table of the database. No I/O at construction; the catalog is read by `load`, or at the first use.

    Columns that the table gets later are not read: restart the process.
    """

    def __init__(self, engine: Engine, settings: Table) -> None:
        self._engine = engine
        self._settings = settings
        self._dialect = dialect_of(engine.dialect.name)
        self._driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self._table: SourceTable | None = None

    def load(self) -> None:
        """Read the catalog. Raises ConfigError when it does not fit the settings, SourceError when unreachable."""
        with self._wrapped_errors():
            self._run(self._load)

    @property
    def encoder(self) -> RowEncoder:
        """Encoder of the rows that `fetch` returns."""
        return self._loaded().encoder

    def fetch(self, row_ids: Sequence[str]) -> Found:
        """Read rows with one SELECT; more only to single out rows that make it fail.

        A row id that has no key, or whose row cannot be read, is in `errors` and holds up no other. Raises
        SourceError when the database as a whole cannot be read.
        """
        table = self._loaded()
        keys, errors = table.row_key.parse_all(row_ids)
        found = self._lookup(keys, table.select_rows, table.key_of)
        found.errors |= errors
        if table.has_hidden_key:
            found.rows = {row_id: row[: table.width] for row_id, row in found.rows.items()}
        return found

    def find_missing(self, row_ids: Sequence[str]) -> list[str]:
        """Return the row ids that the database has no row for, those without a key included. One SELECT of keys.

        Raises SourceError when the database as a whole cannot be read.
        """
        table = self._loaded()
        keys, errors = table.row_key.parse_all(row_ids)
        found = self._lookup(keys, table.select_keys, table.row_key.getter(range(table.row_key.width)))
        missing = {*found.missing, *errors}
        return [row_id for row_id in row_ids if row_id in missing]

    def find_aliases(self, row_ids: Sequence[str]) -> dict[str, str]:
        """Return the row ids that are another text for a key, each with the canonical one."""
        return self._loaded().row_key.aliases(row_ids)

    def stream_row_ids(self, size: int) -> Iterator[list[str]]:
        """Yield the row ids of the whole table, `size` at a time, in no order, in bounded memory.

        One read-only transaction with a server-side cursor. Rows whose key is NULL in part, or an empty text, have no
        row id and are left out.
        """
        empty = 0
        with self._stream() as connection, connection.execute(self._loaded().all_keys) as result:
            for rows in result.yield_per(size).partitions():
                row_ids = list(filter(None, map(self._loaded().row_key.write, rows)))
                empty += len(rows) - len(row_ids)
                if row_ids:
                    yield row_ids
        if empty:
            logger.warning("%s: left out %d row(s) whose key is an empty text", self._settings.setting, empty)

    def stream_query(self, query: Query, size: int) -> Iterator[list[tuple[str, float | None]]]:
        """Yield the row ids that a query returns, each with its delay or None, as `stream_row_ids` does.

        Raises ConfigError for a value that is not a key or a delay, SourceError when the query cannot be run.
        """
        with (
            self._stream(query) as connection,
            connection.execution_options(no_parameters=True).exec_driver_sql(query.sql) as result,
        ):
            reader = QueryRows(query, self._loaded().row_key, len(result.keys()))
            for rows in result.yield_per(size).partitions():
                if found := list(filter(None, map(reader.read, rows))):
                    yield found

    def check_query(self, query: Query) -> None:
        """Check that a query can be run, without running it. Raises ConfigError, or SourceError when unreachable."""
        row_key = self._loaded().row_key
        statement = f"SELECT * FROM (\n{query.sql}\n) AS wanted WHERE 1 = 0"  # noqa: S608 from the settings
        try:
            with self._wrapped_errors(query), self._engine.connect() as connection:
                result = connection.execution_options(no_parameters=True).exec_driver_sql(statement)
                QueryRows(query, row_key, len(result.keys()))
        except SourceError as error:
            self.load()  # raises SourceError when the database, and not the query, is at fault
            raise ConfigError(str(error)) from error

    def count_rows(self) -> int:
        """Count the rows now."""
        count = select(func.count()).select_from(self._loaded().relation)
        with self._wrapped_errors():
            return self._run(lambda connection: connection.scalar(count)) or 0

    def _loaded(self) -> SourceTable:
        if self._table is None:
            self.load()
        assert self._table is not None  # noqa: S101 - load() sets it or raises
        return self._table

    def _load(self, connection: Connection) -> None:
        self._table = load_table(self._settings, self._dialect, connection)

    def _lookup(self, keys: dict[str, Any], select: SelectByKeys, key_of: Callable[[Any], Any]) -> Found:
        def select_batch(batch: list[Any]) -> Sequence[Any]:
            return self._run(lambda connection: select(connection, batch))

        with self._wrapped_errors():
            return lookup(keys, select_batch, key_of, self._row_reason)

    @contextmanager
    def _stream(self, query: Query | None = None) -> Iterator[Connection]:
        """Open a connection whose results are read page by page."""
        self.load()  # also replaces dead connections, which a scan could not retry
        with self._wrapped_errors(query), self._engine.connect() as connection:
            self._dialect.set_up_stream(connection)
            yield connection.execution_options(stream_results=True, **self._dialect.stream_options)

    def _run(self, read: Callable[[Connection], T]) -> T:
        """Read with a connection, and once more with a fresh one when the pooled one turned out to be dead."""
        try:
            with self._engine.connect() as connection:
                return read(connection)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        with self._engine.connect() as connection:
            try:  # The database was restarted or altered: the table may be another one now.
                self._load(connection)
            except ConfigError as error:
                raise SourceError(str(error)) from error
            return read(connection)

    def _row_reason(self, error: Exception) -> str | None:
        """Return why a row cannot be read, without quoting values; None when no single row is the cause."""
        if isinstance(error, DBAPIError | self._driver_error):
            if getattr(error, "connection_invalidated", False) or not self._dialect.is_row_error(_original(error)):
                return None
            words = QUOTED.sub("…", self._dialect.message(_original(error)))
            return one_line(f"the database cannot read the row: {words}", MAX_TEXT)
        if isinstance(error, ValueError | OverflowError):
            return f"the driver cannot read the row: {type(error).__name__}"
        return None

    @contextmanager
    def _wrapped_errors(self, query: Query | None = None) -> Iterator[None]:
        """Wrap the library's errors in SourceError: SQLAlchemy's, and the driver's bare ones while it connects."""
        try:
            yield
        except (SQLAlchemyError, self._driver_error) as error:
            what = f"{self._settings.setting}: cannot read {self._settings.table!r}"
            if query is not None:
                what = f"{query.setting}: cannot run the statement"
            raise SourceError(one_line(f"{what}: {self._dialect.message(_original(error))}", MAX_TEXT)) from error


def _original(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig else error
