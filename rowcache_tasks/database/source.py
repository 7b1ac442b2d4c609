"""Own the reading of rows from the database.

Must not know Redis, Celery or what becomes of the rows. Errors of the database are wrapped here, once.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from rowcache_tasks.config.query import Query
from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.asked import Asked, Fetched
from rowcache_tasks.database.batch import Batch
from rowcache_tasks.database.dialects import Reader, dialect_of
from rowcache_tasks.database.encoding import RowEncoder
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.query_rows import QueryRow
from rowcache_tasks.database.table import Selection, select_table
from rowcache_tasks.errors import ConfigError, SourceError
from rowcache_tasks.text import one_line

__all__ = ["Fetched", "Source", "create_source_engine"]

QUOTED = re.compile(r"(['\"]).*\1", re.DOTALL)

T = TypeVar("T")


class Source:
    """One table of the database. Construction does no I/O; the first use looks the table up, unless `load` did.

    The columns are those of that time: restart the process when the table gets new ones.
    """

    def __init__(self, engine: Engine, table: Table) -> None:
        self._engine = engine
        self._table = table
        self._dialect = dialect_of(engine.dialect.name)
        self._driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self._selection: Selection | None = None

    def load(self) -> None:
        """Look the table up. Raises ConfigError when it does not fit the settings, SourceError when unreachable."""
        with self._wrapped_errors():
            self._answer(self._look_up)

    @property
    def encoder(self) -> RowEncoder:
        """Encoder of the rows that `fetch` returns."""
        return self._loaded().encoder

    def fetch(self, row_ids: Sequence[str]) -> Fetched:
        """Read the rows with one SELECT; more only to single out rows that make it fail.

        A row id that is no key, or whose row cannot be read, is in `errors` and holds up no other. Raises
        SourceError when the database as a whole cannot be read.
        """
        selection = self._loaded()
        asked = Asked(selection.row_key, row_ids)
        batch = Batch(partial(self._select, selection.by_key), selection.key_of, self._row_reason)
        if asked.keys:
            with self._wrapped_errors():
                batch.read(list(asked.keys))
        return asked.sort(batch, self._loaded().width)

    def find_aliases(self, row_ids: Sequence[str]) -> dict[str, str]:
        """Give the row ids that are another text for a key, with the text that a scan of the table uses."""
        return self._loaded().row_key.aliases(row_ids)

    def stream_row_ids(self, size: int) -> Iterator[list[str]]:
        """Yield the row ids of the whole table, `size` at a time, in no order, in bounded memory.

        One read-only transaction with a server-side cursor; rows whose key is NULL in part are left out.
        """
        self.load()  # also replaces dead connections, which a scan could not retry
        selection = self._loaded()
        write = selection.row_key.write
        with self._wrapped_errors(), self._engine.connect() as connection:
            self._dialect.set_up_stream(connection)
            options = {"yield_per": size, **self._dialect.stream_options}
            with connection.execution_options(**options).execute(selection.keys) as result:
                for rows in result.partitions():
                    yield [write(row) for row in rows]

    def stream_query(self, query: Query, size: int) -> Iterator[list[tuple[str, float | None]]]:
        """Yield the row ids that a query returns, each with its delay or None, `size` at a time, in bounded memory.

        As stream_row_ids. Raises ConfigError for what is no key or no delay, SourceError when it cannot be run.
        """
        self.load()
        row_key = self._loaded().row_key
        options = {"stream_results": True, "no_parameters": True, **self._dialect.stream_options}
        with self._wrapped_errors(f"{query.setting}: cannot run the statement"), self._engine.connect() as connection:
            self._dialect.set_up_stream(connection)
            with connection.execution_options(**options).exec_driver_sql(query.sql) as result:
                reader = QueryRow(query, row_key, len(result.keys()))
                for rows in result.yield_per(size).partitions():
                    yield [found for found in map(reader.read, rows) if found]

    def check_query(self, query: Query) -> None:
        """See whether a query can be run, without running it. Raises ConfigError, or SourceError when unreachable."""
        row_key = self._loaded().row_key
        statement = f"SELECT * FROM (\n{query.sql}\n) AS wanted WHERE 1 = 0"  # noqa: S608 from the settings
        try:
            with (
                self._wrapped_errors(f"{query.setting}: cannot run the statement"),
                self._engine.connect() as connection,
            ):
                result = connection.execution_options(no_parameters=True).exec_driver_sql(statement)
                QueryRow(query, row_key, len(result.keys()))
        except SourceError as error:
            self.load()  # a database that cannot be reached says so
            raise ConfigError(str(error)) from error

    def find_missing(self, row_ids: Sequence[str]) -> list[str]:
        """Give those that the database has no row for, texts that are no key among them. One SELECT of keys.

        Raises SourceError when the database as a whole cannot be read.
        """
        selection = self._loaded()
        keys: dict[str, Any] = {}
        for row_id in row_ids:
            with suppress(ValueError):
                keys[row_id] = selection.row_key.parse(row_id)
        read_key = selection.row_key.reader(range(selection.row_key.width))
        batch = Batch(partial(self._select, selection.keys_by_key), read_key, self._row_reason)
        if keys:
            with self._wrapped_errors():
                batch.read(list(dict.fromkeys(keys.values())))
        there = batch.rows.keys() | batch.reasons.keys()
        return [row_id for row_id in row_ids if row_id not in keys or keys[row_id] not in there]

    def count_rows(self) -> int:
        """Count the rows now."""
        count = select(func.count()).select_from(self._loaded().relation)
        with self._wrapped_errors():
            return self._answer(lambda connection: connection.scalar(count)) or 0

    def _loaded(self) -> Selection:
        if self._selection is None:
            self.load()
        assert self._selection is not None  # noqa: S101 - load() sets it or raises
        return self._selection

    def _look_up(self, connection: Connection) -> None:
        self._selection = select_table(self._table, self._dialect, connection)

    def _select(self, read: Reader, keys: list[Any]) -> Sequence[Any]:
        return self._answer(lambda connection: read(connection, keys))

    def _answer(self, ask: Callable[[Connection], T]) -> T:
        """Ask with a connection, and once more with a fresh one when the pooled one turned out to be dead."""
        try:
            with self._engine.connect() as connection:
                return ask(connection)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        with self._engine.connect() as connection:
            try:  # The database was restarted or altered: the table may be another one now.
                self._look_up(connection)
            except ConfigError as error:
                raise SourceError(str(error)) from error
            return ask(connection)

    def _row_reason(self, error: Exception) -> str | None:
        """Say, without quoting values, why a row cannot be read; None when no single row is the cause."""
        if isinstance(error, DBAPIError | self._driver_error):
            if getattr(error, "connection_invalidated", False) or not self._dialect.is_row_error(original(error)):
                return None
            words = QUOTED.sub("…", self._dialect.message(original(error)))
            return one_line(f"the database cannot read the row: {words}")
        if isinstance(error, ValueError | OverflowError):
            return f"the driver cannot read the row: {type(error).__name__}"
        return None

    @contextmanager
    def _wrapped_errors(self, what: str = "") -> Iterator[None]:
        """Make SourceErrors of the library's errors: SQLAlchemy's, and the driver's bare ones while it connects."""
        try:
            yield
        except (SQLAlchemyError, self._driver_error) as error:
            words = self._dialect.message(original(error))
            what = what or f"{self._table.setting}: cannot read {self._table.table!r}"
            raise SourceError(one_line(f"{what}: {words}")) from error


def original(error: BaseException) -> BaseException:
    """Return the driver's error below SQLAlchemy's."""
    return error.orig if isinstance(error, DBAPIError) and error.orig else error
