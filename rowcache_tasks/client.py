"""Own what readers use: RowCache. Must not import SQL or Celery, directly or not; reads only values and their age."""

from collections.abc import Iterable
from typing import Any

import msgspec
import redis

from rowcache_tasks.config import Table, load_settings, parse_settings
from rowcache_tasks.connection import connect
from rowcache_tasks.keys import encode_row_id

__all__ = ["RowCache"]

RowId = str | int


class RowCache:
    """Reads the cached rows of one table.

    `RowCache("inv")` takes Redis and the keys from the configuration module that the workers use
    (CELERY_CONFIG_MODULE, default celeryconfig); `RowCache("inv", url="redis://…")` needs none, and reads the keys
    of `namespace`. Thread-safe and fork-safe; make one and keep it. No connection is opened before the first read.

    Raises ConfigError for wrong settings, ArgumentError for a table that the settings do not have, and, from the
    reads, redis.RedisError when Redis does not answer.
    """

    def __init__(self, table: str, *, url: str | None = None, namespace: str = "") -> None:
        if url is None:
            settings = load_settings()
            self._table, url = settings.table(table), settings.redis_url
        else:
            tables = {table: {"table": table, "namespace": namespace}}
            self._table = parse_settings({"rowcache_redis_url": url, "rowcache_tables": tables}).table(table)
        self._client: redis.Redis = connect(url, "reader")
        self._prefix = self._table.keys.value_prefix
        self._decode = msgspec.json.Decoder().decode

    @property
    def table(self) -> Table:
        """The settings of the table that is read."""
        return self._table

    def get(self, row_id: RowId) -> dict[str, Any] | None:
        """Return the row, or None when it is not cached. docs/json.md says how SQL types look."""
        value: Any = self._client.get(encode_row_id(f"{self._prefix}{row_id}"))
        return None if value is None else self._decode(value)

    def get_many(self, row_ids: Iterable[RowId]) -> dict[RowId, dict[str, Any] | None]:
        """Return row id -> row or None for each id asked, in the order asked; one round trip to Redis."""
        asked = list(row_ids)
        if not asked:
            return {}
        values: Any = self._client.mget([encode_row_id(f"{self._prefix}{row_id}") for row_id in asked])
        decode = self._decode
        return {row_id: None if value is None else decode(value) for row_id, value in zip(asked, values, strict=True)}

    def age(self, row_id: RowId) -> float | None:
        """Return how many seconds ago the cached value was last known to be what the database holds.

        None when the row is not cached. By the server's clock, in one round trip.
        """
        pipeline = self._client.pipeline(transaction=False)
        pipeline.exists(encode_row_id(f"{self._prefix}{row_id}"))
        pipeline.zscore(self._table.keys.refreshed, encode_row_id(str(row_id)))
        pipeline.time()
        exists, refreshed, (seconds, microseconds) = pipeline.execute()
        if not exists or refreshed is None:
            return None
        return max(0.0, int(seconds) + int(microseconds) / 1e6 - float(refreshed))

    def close(self) -> None:
        """Close the connections; the next read opens new ones."""
        self._client.close()
