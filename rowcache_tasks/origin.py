"""Own the reading of rows for readers that miss them: the database behind the cache, few statements at a time.

Imported by readers only when they first fill: it brings SQLAlchemy. Must not know Redis.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from rowcache_tasks.config import Table
from rowcache_tasks.engine import create_source_engine
from rowcache_tasks.errors import FillError, RowCacheError
from rowcache_tasks.reader.breaker import Breaker
from rowcache_tasks.reader.fill import ABSENT, bad_row
from rowcache_tasks.source import Source

__all__ = ["Origin", "open_origin"]


class Database:
    """One database as one process uses it: its engine, and a bound on the statements that run at a time."""

    def __init__(self, url: str, timeout_s: float, concurrency: int) -> None:
        self.engine = create_source_engine(url, statement_timeout_s=timeout_s)
        self.timeout_s = timeout_s
        self.concurrency = concurrency
        self.breaker = Breaker()
        self.places = threading.BoundedSemaphore(concurrency)
        self.executor = ThreadPoolExecutor(concurrency, thread_name_prefix="rowcache-fill")
        """For asyncio, whose event loop must not wait; as many threads as there are places."""


class Origin:
    """One table in the database. Thread-safe."""

    def __init__(self, database: Database, table: Table) -> None:
        self._database = database
        self._table = table
        self._source = Source(database.engine, table)

    @property
    def executor(self) -> ThreadPoolExecutor:
        """The threads in which asyncio runs `fetch`."""
        return self._database.executor

    def fetch(self, row_ids: Sequence[str]) -> dict[str, bytes]:
        """Read rows with one SELECT: row id -> its JSON, ABSENT, or the note of a row that cannot be read.

        Raises FillError: at once when the database was down a moment ago, and after the time-out when as many
        statements as may run at a time are still running.
        """
        database, asked = self._database, f"{len(row_ids)} row(s) of {self._table.name}"
        if not database.breaker.allows():
            raise FillError(f"{asked}: the database was down less than a second ago: try again")
        if not database.places.acquire(timeout=database.timeout_s):
            raise FillError(
                f"{asked}: {database.concurrency} statements ran for {database.timeout_s:g} s: try again, or raise "
                "the concurrency of ReadThrough"
            )
        try:
            fetched = self._source.fetch(row_ids)
            values, errors = self._source.encoder.encode_all(fetched.rows)
        except RowCacheError as error:
            database.breaker.fail()
            raise FillError(f"{asked}: {error}") from error
        finally:
            database.places.release()
        database.breaker.succeed()
        notes = {row_id: bad_row(reason) for row_id, reason in (errors | fetched.errors).items()}
        return values | notes | dict.fromkeys(fetched.missing, ABSENT)


@cache
def open_database(url: str, timeout_s: float, concurrency: int) -> Database:
    """Return this process's part of a database, the same for all tables."""
    return Database(url, timeout_s, concurrency)


@cache
def open_origin(table: Table, url: str, timeout_s: float, concurrency: int) -> Origin:
    """Return this process's part of a table; a forked child makes its own. Raises ConfigError for a wrong URL."""
    return Origin(open_database(url, timeout_s, concurrency), table)


def forget() -> None:
    """Let a forked child make its own connections."""
    open_origin.cache_clear()
    open_database.cache_clear()


os.register_at_fork(after_in_child=forget)
