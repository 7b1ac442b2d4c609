"""SELECT of a batch of rows from PostgreSQL, in one round trip."""

import math
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from rowcache_tasks.database.dialects.dialect import Dialect
from rowcache_tasks.errors import SourceError
from rowcache_tasks.schedule.position import ReadPosition, number_of


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
            around = self._dialect.position if self._dialect.is_located else ""
            cursor, *marks = driver_connection.read(self._sql, self._dialect.parameters(keys), around)
            rows: Sequence[Any] = cursor.fetchall()
            if marks:
                connection.info[ReadPosition] = position_of(*(mark.fetchone() for mark in marks))
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


def position_of(before: tuple[bool, str | None], after: tuple[bool, str | None]) -> ReadPosition:
    """Return the bounds of a SELECT, of the answers to `position` before and after it.

    A snapshot of the primary may lack a commit whose position it has passed, and no commit that anybody was told of.
    Raises SourceError when a replica names no position.
    """
    if before[1] is None or after[1] is None:
        raise SourceError(
            "the replica names no position in the log (pg_last_wal_replay_lsn() is NULL), which 'replica' of the table "
            "needs: read the primary, without that option"
        )
    return ReadPosition(number_of(before[1]) if before[0] else math.inf, number_of(after[1]))
