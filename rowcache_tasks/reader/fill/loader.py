"""Loader of uncached rows, with bounded concurrency; SQLAlchemy."""

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.errors import ConfigError, FillError, RowCacheError, SourceError
from rowcache_tasks.reader.fill.scripts import ABSENT, BAD_ROW, make_note
from rowcache_tasks.reader.server import Breaker
from rowcache_tasks.schedule.position import ReadPosition


class Loaded(dict[str, bytes]):
    """Outcomes of rows: row id -> JSON or a note."""

    positions: Sequence[ReadPosition] = ()  # where they were read, of a table with "replica"


class LoadPool:
    """The engine and the threads that one process has for one database, shared by its tables."""

    def __init__(self, url: str, timeout_s: float, concurrency: int, may_be_replica: bool) -> None:
        self.engine = create_source_engine(
            url, statement_timeout_s=timeout_s, pool_size=concurrency, may_be_replica=may_be_replica
        )
        self.timeout_s = timeout_s
        self.concurrency = concurrency
        self.breaker = Breaker()
        self.executor = ThreadPoolExecutor(concurrency, thread_name_prefix="rowcache-fill")
        """One thread for each statement that may run at a time. A caller can stop waiting for it: a driver cannot."""


class Loader:
    """Loads rows of one table. Thread-safe."""

    def __init__(self, pool: LoadPool, table: Table) -> None:
        self._pool = pool
        self._table = table
        self._source = Source(pool.engine, table)
        self._limit_s = 1.25 * pool.timeout_s
        """How long to wait for rows: the time-out of a statement, and a little for its turn.

        Less than the mark in Redis lasts: another reader would load the rows as well.
        """

    def load(self, row_ids: Sequence[str]) -> Loaded:
        """Read rows with one SELECT: row id -> its JSON, ABSENT, or a BAD_ROW note.

        Raises FillError: within 1.25 times the time-out, and at once when the database was down a moment ago.
        """
        rows = self._submit(row_ids)
        try:
            return rows.result(self._limit_s)
        except TimeoutError as error:
            rows.cancel()
            raise self._time_out(row_ids) from error

    async def load_async(self, row_ids: Sequence[str]) -> Loaded:
        """Read rows as `load` does, awaited."""
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._submit(row_ids)), self._limit_s)
        except TimeoutError as error:
            raise self._time_out(row_ids) from error

    def _submit(self, row_ids: Sequence[str]) -> "Future[Loaded]":
        if not self._pool.breaker.allows():
            raise FillError(f"{self._describe(row_ids)}: the database was down less than a second ago: try again")
        try:
            return self._pool.executor.submit(self._load, row_ids)
        except RuntimeError as error:
            raise FillError(f"{self._describe(row_ids)}: the process is ending") from error

    def _time_out(self, row_ids: Sequence[str]) -> FillError:
        """Count a time-out as a failure of the database; returns the error to raise."""
        self._pool.breaker.fail()
        return FillError(
            f"{self._describe(row_ids)}: not read within {self._limit_s:g} s: the database hangs, or more is asked of "
            f"it than {self._pool.concurrency} statements at a time can read: try again"
        )

    def _load(self, row_ids: Sequence[str]) -> Loaded:
        try:
            mistakes = self._source.find_mistakes(row_ids)
            positions: list[ReadPosition] = []
            fetched = self._source.fetch([row_id for row_id in row_ids if row_id not in mistakes], positions)
            values, errors = fetched.encoder.encode_all(fetched.rows)
        except RowCacheError as error:
            if not isinstance(error, ConfigError):  # of one table: the others can be read
                self._pool.breaker.fail()
            raise FillError(f"{self._describe(row_ids)}: {error}", is_shared=isinstance(error, SourceError)) from error
        self._pool.breaker.succeed()
        # Cached under another text, a row would not change when it is refreshed by its own.
        notes = {row_id: make_note(BAD_ROW, reason) for row_id, reason in (errors | fetched.errors | mistakes).items()}
        loaded = Loaded(values | notes | dict.fromkeys(fetched.missing, ABSENT))
        loaded.positions = positions
        return loaded

    def _describe(self, row_ids: Sequence[str]) -> str:
        return f"{len(row_ids)} row(s) of {self._table.name}"


pools: dict[tuple[str, float, int], LoadPool] = {}
loaders: dict[tuple[LoadPool, Table], Loader] = {}
opening = threading.Lock()  # threads that begin together must not make an engine each


def open_loader(table: Table, url: str, timeout_s: float, concurrency: int) -> Loader:
    """Return this process's loader of a table; a forked child makes its own. Raises ConfigError for a wrong URL."""
    key = url, timeout_s, concurrency
    with opening:
        if key not in pools:
            pools[key] = LoadPool(*key, table.replica)
        if (pools[key], table) not in loaders:
            loaders[pools[key], table] = Loader(pools[key], table)
        return loaders[pools[key], table]


def close() -> None:
    """Close the connections; the next load makes new ones."""
    for pool in pools.values():
        pool.engine.dispose()
    forget()


def forget() -> None:
    """Let a forked child make its own connections."""
    global opening  # noqa: PLW0603 - a thread of the parent may hold it for ever
    opening = threading.Lock()
    loaders.clear()
    pools.clear()


os.register_at_fork(after_in_child=forget)
