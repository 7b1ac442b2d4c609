"""Reading of rows through psycopg's cursor, below SQLAlchemy.

SQLAlchemy's statement and result cost as much as reading 20 rows or more. Lost connections are left to its pool.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

__all__ = ["read_rows"]


def read_rows(
    connection: Connection,
    sql: str,
    parameters: Mapping[str, Any],
    is_outdated: Callable[[BaseException], bool],
) -> Sequence[Any]:
    """Run a statement in psycopg's own form; returns the rows as tuples.

    Raises DBAPIError when the connection cannot be used any more, else the driver's own error.
    """
    driver_connection: Any = connection.connection.driver_connection
    try:
        with driver_connection.cursor() as cursor:
            rows: Sequence[Any] = cursor.execute(sql, parameters).fetchall()
            return rows
    except connection.dialect.loaded_dbapi.Error as error:
        if driver_connection.closed or is_outdated(error):
            mark_closed(connection, driver_connection)
            raise DBAPIError(sql, None, error, hide_parameters=True, connection_invalidated=True) from error
        raise
    except BaseException:
        if driver_connection.info.transaction_status:  # not idle: the wait for the answer was interrupted
            connection.invalidate()
        raise


def mark_closed(connection: Connection, driver_connection: Any) -> None:
    """Let SQLAlchemy find the connection closed: it then replaces every pooled one that is as old."""
    driver_connection.close()
    with suppress(DBAPIError):
        connection.exec_driver_sql("SELECT 1")
