"""SELECT of a batch of rows from PostgreSQL, in one round trip."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from rowcache_tasks.database.dialects.dialect import Dialect


class BatchSelect:
    """Prepared SELECT with the keys as parameters."""

    def __init__(self, dialect: Dialect, sql: str) -> None:
        self._dialect = dialect
        self._sql = sql
        self._types: list[int] = []  # types of the result's columns, from the first result

    def __call__(self, connection: Connection, keys: Collection[Any]) -> Sequence[Any]:
        """Return the rows with some keys. Raises DBAPIError when connection or statement cannot be used any more."""
        driver_connection: Any = connection.connection.driver_connection
        try:
            cursor = driver_connection.read(self._sql, self._dialect.parameters(keys))
            rows: Sequence[Any] = cursor.fetchall()
        except connection.dialect.loaded_dbapi.Error as error:
            if driver_connection.closed or self._dialect.is_outdated(error):
                driver_connection.close()
                with suppress(DBAPIError):  # SQLAlchemy finds it closed, and replaces every pooled one that is as old
                    connection.exec_driver_sql("SELECT 1")
                raise self._outdated(error) from error
            raise
        except BaseException:
            if driver_connection.info.transaction_status:  # not idle: the wait for the answer was interrupted
                connection.invalidate()
            raise
        result = cursor.pgresult
        types = [result.ftype(i) for i in range(result.nfields)]
        if types != (self._types or types):
            raise self._outdated(TypeError("the type of a column has changed"))
        self._types = types
        return rows

    def _outdated(self, error: Exception) -> DBAPIError:
        return DBAPIError(self._sql, None, error, hide_parameters=True, connection_invalidated=True)
