"""Own what readers use: RowCache. Must not import SQL or Celery, directly or not; reads only values and their age."""

import logging
from collections.abc import Iterable
from typing import Any

import msgspec
import redis

from rowcache_tasks.config import Table, load_settings, parse_settings
from rowcache_tasks.connection import connect
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.keys import encode_row_id
from rowcache_tasks.quotation import shorten

__all__ = ["RowCache"]

logger = logging.getLogger(__name__)

RowId = str | int


class RowCache:
    """Reads the cached rows of one table.

    `RowCache("inv")` takes Redis and the keys from the configuration module that the workers use
    (CELERY_CONFIG_MODULE, default celeryconfig); `RowCache("inv", url="redis://…")` needs none, and reads the keys
    of `namespace`. Thread-safe and fork-safe; make one and keep it. No connection is opened before the first read.

    Raises ConfigError for wrong settings, ArgumentError for a table that the settings do not have or a row id that is
    neither a text nor an integer, and, from the reads, redis.RedisError when Redis does not answer. A value that is no
    JSON object, which only a foreign client can have written, is logged and counts as not cached; the next refresh
    writes over it.
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
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode

    @property
    def table(self) -> Table:
        """The settings of the table that is read."""
        return self._table

    def get(self, row_id: RowId) -> dict[str, Any] | None:
        """Return the row, or None when it is not cached. docs/json.md says how SQL types look."""
        try:
            value: Any = self._client.get(self._key(row_id))
        except redis.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            value = b""
        return None if value is None else self._read(row_id, value)

    def get_many(self, row_ids: Iterable[RowId]) -> dict[RowId, dict[str, Any] | None]:
        """Return row id -> row or None for each id asked, in the order asked; one round trip to Redis."""
        asked = list(row_ids)
        if not asked:
            return {}
        values: Any = self._client.mget([self._key(row_id) for row_id in asked])
        read = self._read
        return {
            row_id: None if value is None else read(row_id, value) for row_id, value in zip(asked, values, strict=True)
        }

    def age(self, row_id: RowId) -> float | None:
        """Return how many seconds ago the cached value was last known to be what the database holds.

        None when the row is not cached. By the server's clock, in one round trip.
        """
        pipeline = self._client.pipeline(transaction=False)
        pipeline.exists(self._key(row_id))
        pipeline.zscore(self._table.keys.refreshed, encode_row_id(str(row_id)))
        pipeline.time()
        exists, refreshed, (seconds, microseconds) = pipeline.execute()
        if not exists or refreshed is None:
            return None
        return max(0.0, int(seconds) + int(microseconds) / 1e6 - float(refreshed))

    def _key(self, row_id: RowId) -> bytes:
        if isinstance(row_id, str | int):
            try:
                return encode_row_id(f"{self._prefix}{row_id}")
            except ValueError as error:  # a lone surrogate, or an integer of thousands of digits
                raise ArgumentError(f"row id is {shorten(row_id)}: no row can have it") from error
        raise ArgumentError(f"row id is {shorten(row_id)}: it must be a string or an integer")

    def _read(self, row_id: RowId, value: bytes) -> dict[str, Any] | None:
        try:
            return self._decode(value)
        except (ValueError, RecursionError) as error:
            logger.warning("row %s of %s counts as not cached: %s", shorten(row_id), self._table.name, error)
            return None

    def close(self) -> None:
        """Close the connections; the next read opens new ones."""
        self._client.close()
