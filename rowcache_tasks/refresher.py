"""Own how an application asks for refreshes straight in Redis, without Celery. Must not import SQL or Celery."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from rowcache_tasks.argument import parse_row_ids
from rowcache_tasks.config import Settings, load_settings, parse_settings
from rowcache_tasks.connection import connection_options
from rowcache_tasks.errors import CacheError
from rowcache_tasks.schedule import touch_calls
from rowcache_tasks.scripts import load_script

__all__ = ["Refresher"]


class Refresher:
    """Refreshes rows now, as after a change; what the task refresh_now does, in one round trip to Redis.

    `Refresher()` takes Redis and the tables from the configuration module that the workers use;
    `Refresher(url="redis://…", tables={"inv": {"table": "inventory"}})` needs none. Thread-safe and fork-safe; make
    one and keep it. No connection is opened before the first call. No call takes longer than about `timeout` seconds:
    half of it to connect, half for each answer; nothing is tried twice.

    Raises ConfigError for wrong settings, ArgumentError for a table or a row id that cannot be, and CacheError when
    Redis does not answer or refuses; the rows are then refreshed when their delay ends.
    """

    def __init__(
        self, *, url: str | None = None, tables: Mapping[str, Mapping[str, Any]] | None = None, timeout: float = 1.0
    ) -> None:
        self.settings: Settings = (
            load_settings() if url is None else parse_settings({"rowcache_redis_url": url, "rowcache_tables": tables})
        )
        self._client = redis.Redis.from_url(
            self.settings.redis_url,
            **connection_options(self.settings.redis_url, "refresher", timeout / 2),
            health_check_interval=0,  # a connection that the server has closed is found without one
            retry=Retry(NoBackoff(), retries=0),
        )
        script = load_script("touch_rows")
        self._script = script
        self._digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()

    def refresh_now(self, table: str, row_ids: str | int | list[str | int]) -> int:
        """Refresh scheduled rows at once, as after a change; returns how many of them are scheduled.

        A value that is read from the database after this call will be cached. Of rows that are not scheduled, what
        readers filled in is removed.
        """
        return self.refresh_tables({table: parse_row_ids(row_ids)})

    def refresh_tables(self, rows: Mapping[str, Iterable[str]]) -> int:
        """Do the same for rows of several tables (table -> row ids), all in one round trip."""
        calls = [call for table, row_ids in rows.items() for call in touch_calls(self.settings.table(table), row_ids)]
        try:
            replies = self._run(calls)
            if any(isinstance(reply, NoScriptError) for reply in replies):
                replies = self._run(calls, load=True)  # all of them once more: to touch a row twice does no harm
        except redis.RedisError as error:
            raise CacheError(f"{', '.join(rows)}: Redis does not answer: {error}") from error
        for reply in replies:
            if isinstance(reply, Exception):
                raise CacheError(f"{', '.join(rows)}: Redis refuses: {reply}") from reply
        return sum(replies)

    def _run(self, calls: list[tuple[list[str], list[Any]]], *, load: bool = False) -> list[Any]:
        """Call the script for each; an error is among the replies, so that one table does not hold up another."""
        if not calls:
            return []
        with self._client.pipeline(transaction=False) as pipeline:
            if load:
                pipeline.script_load(self._script)
            for keys, arguments in calls:
                pipeline.evalsha(self._digest, len(keys), *keys, *arguments)
            replies = pipeline.execute(raise_on_error=False)
        return replies[1:] if load else replies

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._client.close()
