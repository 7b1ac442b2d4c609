"""Own the reading of rows for readers that miss them: the database behind the cache, few statements at a time.

Imported by readers only when they first fill: it brings SQLAlchemy. Must not know Redis.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.errors import ConfigError, FillError, RowCacheError, SourceError
from rowcache_tasks.reader.breaker import Breaker
from rowcache_tasks.reader.fill.scripts import ABSENT, bad_row
from rowcache_tasks.text import shorten

__all__ = ["Origin", "open_origin"]


class Database:
    """One database as one process uses it: its engine, and a bound on the statements that run at a time."""

    def __init__(self, url: str, timeout_s: float, concurrency: int) -> None:
        self.engine = create_source_engine(url, statement_timeout_s=timeout_s, pool_size=concurrency)
        self.timeout_s = timeout_s
        self.concurrency = concurrency
        self.breaker = Breaker()
        self.executor = ThreadPoolExecutor(concurrency, thread_name_prefix="rowcache-fill")
        """As many threads as statements may run at a time. Who waits for one can stop waiting: a driver cannot."""


class Origin:
    """One table in the database. Thread-safe."""

    def __init__(self, database: Database, table: Table) -> None:
        self._database = database
        self._table = table
        self._source = Source(database.engine, table)

    @property
    def limit_s(self) -> float:
        """How long to wait for rows: as long as a statement may run, and a little for its turn.

        Shorter than the time for which the rows are ours: what comes later would be read by others as well.
        """
        return 1.25 * self._database.timeout_s

    def fetch(self, row_ids: Sequence[str]) -> dict[str, bytes]:
        """Read rows with one SELECT: row id -> its JSON, ABSENT, or the note of a row that cannot be read.

        Raises FillError: within limit_s, and at once when the database was down a moment ago.
        """
        reading = self.submit(row_ids)
        try:
            return reading.result(self.limit_s)
        except TimeoutError as error:
            reading.cancel()
            raise self.late(row_ids) from error

    def submit(self, row_ids: Sequence[str]) -> "Future[dict[str, bytes]]":
        """Begin to read rows, as fetch does; who waits for no longer than limit_s then raises what `late` gives."""
        if not self._database.breaker.allows():
            raise FillError(f"{self._words(row_ids)}: the database was down less than a second ago: try again")
        try:
            return self._database.executor.submit(self._read, row_ids)
        except RuntimeError as error:
            raise FillError(f"{self._words(row_ids)}: the process is ending") from error

    def late(self, row_ids: Sequence[str]) -> FillError:
        """Count the database as down for a moment; give the error that says so."""
        self._database.breaker.fail()
        return FillError(
            f"{self._words(row_ids)}: not read within {self.limit_s:g} s: the database hangs, or more is asked of it "
            f"than {self._database.concurrency} statements at a time can read: try again"
        )

    def _read(self, row_ids: Sequence[str]) -> dict[str, bytes]:
        try:
            aliases = self._source.find_aliases(row_ids)
            fetched = self._source.fetch([row_id for row_id in row_ids if row_id not in aliases])
            values, errors = self._source.encoder.encode_all(fetched.rows)
        except RowCacheError as error:
            if not isinstance(error, ConfigError):  # of one table: the others can be read
                self._database.breaker.fail()
            raise FillError(f"{self._words(row_ids)}: {error}", is_shared=isinstance(error, SourceError)) from error
        self._database.breaker.succeed()
        # Cached under another text, a row would stay as it is when it is refreshed by its own.
        errors |= {row_id: f"it is another text for {shorten(text)}: ask for that" for row_id, text in aliases.items()}
        notes = {row_id: bad_row(reason) for row_id, reason in (errors | fetched.errors).items()}
        return values | notes | dict.fromkeys(fetched.missing, ABSENT)

    def _words(self, row_ids: Sequence[str]) -> str:
        return f"{len(row_ids)} row(s) of {self._table.name}"


opening = threading.Lock()
"""Threads that begin together must not get an engine each."""


def open_origin(table: Table, url: str, timeout_s: float, concurrency: int) -> Origin:
    """Return this process's part of a table; a forked child makes its own. Raises ConfigError for a wrong URL."""
    with opening:
        return make_origin(table, url, timeout_s, concurrency)


@cache
def make_origin(table: Table, url: str, timeout_s: float, concurrency: int) -> Origin:
    """Make it, once."""
    return Origin(make_database(url, timeout_s, concurrency), table)


@cache
def make_database(url: str, timeout_s: float, concurrency: int) -> Database:
    """Make this process's part of a database, once for all tables."""
    return Database(url, timeout_s, concurrency)


def forget() -> None:
    """Let a forked child make its own connections."""
    global opening  # noqa: PLW0603 - a thread of the parent may hold it for ever
    opening = threading.Lock()
    make_origin.cache_clear()
    make_database.cache_clear()


os.register_at_fork(after_in_child=forget)
