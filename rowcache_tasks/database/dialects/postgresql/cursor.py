"""Own the reading of a batch's rows through psycopg's own cursor, on a connection that SQLAlchemy lends.

SQLAlchemy's statements and results would cost as much as reading 20 rows or more. What it does about a connection that
is lost is left to it.
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
    """Run a statement in psycopg's own form; give the rows as tuples.

    Raises DBAPIError when the connection cannot be used any more, or the driver's own error.
    """
    driver_connection: Any = connection.connection.driver_connection
    try:
        with driver_connection.cursor() as cursor:
            rows: Sequence[Any] = cursor.execute(sql, parameters).fetchall()
            return rows
    except connection.dialect.loaded_dbapi.Error as error:
        if driver_connection.closed or is_outdated(error):
            give_up(connection, driver_connection)
            raise DBAPIError(sql, None, error, hide_parameters=True, connection_invalidated=True) from error
        raise
    except BaseException:
        if driver_connection.info.transaction_status:  # not idle: something has ended the wait for the answer
            connection.invalidate()
        raise


def give_up(connection: Connection, driver_connection: Any) -> None:
    """Let SQLAlchemy find the connection closed: from then on it trusts no other that is as old."""
    driver_connection.close()
    with suppress(DBAPIError):
        connection.exec_driver_sql("SELECT 1")
