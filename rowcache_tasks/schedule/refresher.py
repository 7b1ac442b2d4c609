"""Refreshes requested straight in Redis, without Celery."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rowcache_tasks.config.settings import MAX_BATCH_SIZE, Settings, Table, load_settings, parse_settings
from rowcache_tasks.errors import ArgumentError, CacheError
from rowcache_tasks.errors.text import redact, shorten
from rowcache_tasks.schedule.arguments import parse_row_ids
from rowcache_tasks.schedule.connection import check_timeout, open_client
from rowcache_tasks.schedule.cut import SCRIPT_BATCH, cut
from rowcache_tasks.schedule.position import need_position, parse_position
from rowcache_tasks.schedule.role import NotPrimaryError
from rowcache_tasks.schedule.row_id import Key, Many
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.script import run_all
from rowcache_tasks.schedule.servers import wake_home

ROWS_AT_ONCE = 2 * MAX_BATCH_SIZE  # rows in one round trip, about 20 ms; the deadline is checked between two of them


class Refresher:
    """Refreshes rows now, as after a change: the same as the task refresh_now, in one round trip for 2000 rows.

    `Refresher()` takes Redis and the tables from the settings that the workers use, `Refresher(app=…)` from those of a
    Celery application;
    `Refresher(url="redis://…", tables={"inv": {"table": "inventory"}})` needs none. Thread-safe and fork-safe; make
    one and keep it, or use it in a `with`. A copy made with pickle has the settings and makes connections of its own.
    No connection is opened before the first call. No call takes longer than about `timeout` seconds: half of it to
    connect, half for each answer. Nothing is sent after that time, or twice but to another server after a failover.

    Raises ConfigError for wrong settings, ArgumentError for an unknown table or a wrong row id, and CacheError when
    Redis does not answer, refuses, or is too slow for so many rows. `left` of that error is the number of rows of each
    table that are refreshed only when their delay ends.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        tables: Mapping[str, Mapping[str, Any]] | None = None,
        timeout: float = 1.0,
        app: Any = None,
    ) -> None:
        if url is None and tables is not None:
            raise ArgumentError(
                f"tables is {shorten(tables)} and url is not given: give the url of Redis as well, or leave tables out "
                "to take both from the configuration module"
            )
        if app is not None and url is not None:
            raise ArgumentError("app and url are given: an application has its own, leave the url out")
        timeout_s = check_timeout(timeout)
        settings = (
            load_settings(app)
            if url is None
            else parse_settings({"rowcache_redis_url": url, "rowcache_tables": tables})
        )
        self.__setstate__((settings, timeout_s))

    def __getstate__(self) -> tuple[Settings, float]:
        """Return the settings, with the login of Redis: a copy in another process has connections of its own."""
        return self.settings, self._timeout_s

    def __setstate__(self, state: tuple[Settings, float]) -> None:
        self.settings, self._timeout_s = state
        self._client = open_client(
            self.settings.redis_url,
            "refresher",
            self._timeout_s / 2,
            health_check_interval=0,  # redis-py notices a connection that the server has closed without one
            retry=Retry(NoBackoff(), retries=1, supported_errors=(NotPrimaryError,)),
        )

    def __repr__(self) -> str:
        return f"Refresher(url={redact(self.settings.redis_url)!r}, tables={list(self.settings.tables)})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def refresh_now(self, table: str, row_ids: Many[Key], *, position: str = "") -> int:
        """Refresh scheduled rows at once, as after a change; return how many of them are scheduled.

        A value that is read from the database after this call will be cached. Rows that are not scheduled lose the
        value that a reader filled in. `position`, of a table with "replica": that of the primary after the commit; a
        value that a replica has before it is not cached.
        """
        return self.refresh_tables({self.settings.table(table).name: row_ids}, position=position)

    def refresh_tables(self, rows: Mapping[str, Many[Key]], *, position: str = "") -> int:
        """Do the same for rows of several tables (table -> row ids), all in one round trip of up to 2000 rows."""
        deadline = time.monotonic() + self._timeout_s
        if not isinstance(rows, Mapping):
            raise ArgumentError(f'rows is {shorten(rows)}: it must be a dictionary of table -> keys: {{"inv": [42]}}')
        checked = {table: parse_row_ids(row_ids) for table, row_ids in rows.items()}
        return self._touch(checked, deadline, parse_position(position))

    def touch_rows(self, rows: Mapping[str, Sequence[str]], position: str = "") -> int:
        """Do the same for row ids that are not checked: the hook makes them from keys of the database."""
        return self._touch(rows, time.monotonic() + self._timeout_s, position)

    def _touch(self, rows: Mapping[str, Sequence[str]], deadline: float, position: str) -> int:
        """Send round trip after round trip until all is sent or the time is over. Rows that were sent stay due."""
        for table in rows:
            self.settings.table(table)
        left = {table: len(row_ids) for table, row_ids in rows.items()}
        refused: dict[str, Exception] = {}
        total = self._touch_growing(rows, left)
        rows = {table: row_ids for table, row_ids in rows.items() if left[table]}
        # A table adds one short portion at most, so that ROWS_AT_ONCE rows of any tables are one round trip.
        size = ROWS_AT_ONCE // SCRIPT_BATCH + sum(map(bool, rows.values())) - 1
        for n, trip in enumerate(cut(self._portions(rows), max(size, 1))):
            if n and time.monotonic() >= deadline:
                break
            portions = [(part, row_ids) for part, row_ids in trip if part.name not in refused]
            try:
                for part, row_ids in portions:
                    need_position(self._client, part, row_ids, position)
                calls = [Schedule(self._client, part).touch_call(row_ids) for part, row_ids in portions]
                replies = run_all(self._client, calls)
            except redis.RedisError as error:
                raise failure(rows, left, f"Redis does not answer: {error}") from error
            for (part, row_ids), reply in zip(portions, replies, strict=True):
                if isinstance(reply, Exception):
                    refused.setdefault(part.name, reply)
                else:
                    left[part.name] -= len(row_ids)
                    total += reply
        wake_home(self._client, self.settings.deployment)
        for reason in refused.values():
            raise failure(rows, left, f"Redis refuses: {reason}") from reason
        if any(left.values()):
            raise failure(rows, left, f"{self._timeout_s:g} s are over: give more time (timeout), or rows in parts")
        return total

    def _touch_growing(self, rows: Mapping[str, Sequence[str]], left: dict[str, int]) -> int:
        """Touch rows of tables that grow, where they are; return how many are scheduled."""
        touched = 0
        for name, row_ids in rows.items():
            table = self.settings.table(name)
            if table.growing_from and row_ids:
                try:
                    touched += Schedule(self._client, table).touch_rows(row_ids)
                except redis.RedisError as error:
                    raise failure(rows, left, f"Redis does not answer: {error}") from error
                left[name] = 0
        return touched

    def _portions(self, rows: Mapping[str, Sequence[str]]) -> Iterator[tuple[Table, Sequence[str]]]:
        """Yield the rows of each call of touch_rows, and their part."""
        for name, row_ids in rows.items():
            for part, some in self.settings.table(name).divide(row_ids):
                for batch in cut(some, SCRIPT_BATCH):
                    yield part, batch

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._client.close()


def failure(rows: Mapping[str, Sequence[str]], left: Mapping[str, int], reason: str) -> CacheError:
    """Return the error with the number of rows of each table that are left."""
    found = {table: size for table, size in left.items() if size}
    text = ", ".join(f"{size} of {len(rows[table])} rows of {table}" for table, size in found.items())
    return CacheError(f"{text} are not refreshed now: {reason}", found)
