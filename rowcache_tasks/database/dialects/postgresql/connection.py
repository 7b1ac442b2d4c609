"""Connection of psycopg: SELECTs in one round trip, bounded waits."""

import math
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from psycopg import Connection, Cursor, Error, OperationalError
from sqlalchemy.exc import DBAPIError

from rowcache_tasks.database.dialects.dialect import Dialect
from rowcache_tasks.database.statement import read_sql
from rowcache_tasks.errors import SourceError
from rowcache_tasks.schedule.position import ReadPosition, number_of

OUTDATED = "0A000"  # SQLSTATE after an ALTER TABLE that a prepared statement does not fit any more
ANSWER_SLACK_S = 2.0  # wait beyond the statement time-out, at which the server itself ends the statement


class BoundedConnection(Connection[tuple[Any, ...]]):
    """Connection that closes and raises when an answer takes too long; libpq and keepalives wait for ever."""

    statement_timeout_s = float("inf")
    """Time limit of a statement. The server may be silent a little longer while it owes an answer."""
    on_wait: Callable[[], object] = bool
    """Called ten times a second while the server is silent."""

    @property
    def settings(self) -> str:
        """Statement that sets up a transaction, as a pooler may lend the session: read-only, bounded, exact texts."""
        return read_sql("postgresql_settings").format(timeout_ms=max(1, round(self.statement_timeout_s * 1000)))

    def read(self, query: str, parameters: Any, around: str = "") -> tuple[Cursor[tuple[Any, ...]], ...]:
        """Run a SELECT in one round trip, a pipeline that is a transaction of its own with `settings`.

        `around`, another SELECT, is run before and after it; their cursors follow. Each sees what is committed when it
        begins.
        """
        cursor, marks = self.cursor(), [self.cursor(), self.cursor()] if around else []
        with self.pipeline():
            try:
                if around:
                    self.execute("SET transaction_isolation = 'read committed'")
                self.execute(self.settings)
                for mark in marks[:1]:
                    mark.execute(around)
                cursor.execute(query, parameters)
                for mark in marks[1:]:
                    mark.execute(around)
            except OperationalError:
                if not self.closed:  # else psycopg would log what the end of the pipeline raises
                    raise
        return cursor, *marks

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
        """Run one exchange of psycopg with the server. Raises OperationalError when the server is silent.

        Any other exception closes the connection: psycopg would wait again when it leaves the pipeline, or hide it.
        """
        try:
            return super().wait(self._bounded(gen), *args, **kwargs)
        except Error:
            raise
        except BaseException:
            if self.info.transaction_status:  # not idle
                self.close()
            raise

    def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Wrap psycopg's generator, which gets 0 ten times a second while nothing can be read or written."""
        limit_s = self.statement_timeout_s + ANSWER_SLACK_S
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > limit_s:
                    self.close()  # SQLAlchemy goes by this, and not by the exception, to open another one
                    raise OperationalError(f"the server has not answered for {limit_s:g} s")
                else:
                    self.on_wait()
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


class BatchSelect:
    """Prepared SELECT with the keys as parameters."""

    def __init__(self, dialect: Dialect, sql: str) -> None:
        self._dialect = dialect
        self._sql = sql
        self._types: list[int] = []  # types of the result's columns, from the first result

    def __call__(self, connection: sa.Connection, keys: Collection[Any]) -> Sequence[Any]:
        """Return the rows with some keys. Raises DBAPIError when connection or statement cannot be used any more."""
        driver_connection: Any = connection.connection.driver_connection
        try:
            around = self._dialect.position if self._dialect.is_located else ""
            cursor, *marks = driver_connection.read(self._sql, self._dialect.parameters(keys), around)
            rows: Sequence[Any] = cursor.fetchall()
            if marks:
                connection.info[ReadPosition] = position_of(*(mark.fetchone() for mark in marks))
        except Error as error:
            if driver_connection.closed or error.sqlstate == OUTDATED:
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
