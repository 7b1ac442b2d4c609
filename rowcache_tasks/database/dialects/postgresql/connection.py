"""Connection of psycopg: short read-only transactions, bounded waits."""

import time
from collections.abc import Generator
from typing import Any

from psycopg import Connection, Cursor, Error, OperationalError

from rowcache_tasks.database.statement import read_sql

ANSWER_SLACK_S = 2.0  # wait beyond the statement time-out, at which the server itself ends the statement


class BoundedConnection(Connection[tuple[Any, ...]]):
    """Connection that closes and raises when an answer takes too long; libpq and keepalives wait for ever."""

    statement_timeout_s = float("inf")
    """Time limit of a statement. The server may be silent a little longer while it owes an answer."""

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
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value
