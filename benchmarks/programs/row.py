"""Refresh of rows, as all contenders do it.

SELECT, encode with msgspec, SET; on connections that stay open.

BENCH_REDIS_URL, BENCH_DATABASE    the servers

With the argument "timed", a program also writes the time of each refresh to `refreshed:`.
"""

import os
import sys
import threading
import time
from typing import Any

import msgspec
import psycopg
import redis

ONE = "SELECT * FROM inventory WHERE id = %s"
MANY = "SELECT * FROM inventory WHERE id = ANY(%s)"


class Rows:
    """A session at the database and a connection to the cache; for one thread at a time."""

    def __init__(self) -> None:
        self.client: Any = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
        self._cursor = psycopg.connect(os.environ["BENCH_DATABASE"], autocommit=True).cursor()
        self._names = [column.name for column in self._cursor.execute(ONE, [0]).description or ()]
        self._encode = msgspec.json.Encoder().encode
        self._write = self._write_timed if "timed" in sys.argv else self.client.set
        self.client.ping()

    def refresh(self, row_id: str) -> None:
        """Refresh one row."""
        row = self._cursor.execute(ONE, [int(row_id)]).fetchone()
        self._write(f"inv:{row_id}", self._encode(dict(zip(self._names, row or (), strict=True))))

    def refresh_many(self, row_ids: list[int]) -> None:
        """Refresh rows with one query and one command."""
        rows = self._cursor.execute(MANY, [row_ids]).fetchall()
        self.client.mset({f"inv:{row[0]}": self._encode(dict(zip(self._names, row, strict=True))) for row in rows})

    def _write_timed(self, key: str, value: bytes) -> Any:
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.set(key, value)
            pipeline.zadd("refreshed:", {key.removeprefix("inv:"): time.time()})
            return pipeline.execute()


_local = threading.local()


def rows_of_thread() -> Rows:
    """Return the Rows of this thread, opened at the first use, which is after a fork."""
    if not hasattr(_local, "rows"):
        _local.rows = Rows()
    rows: Rows = _local.rows
    return rows
