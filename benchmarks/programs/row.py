"""What every contender does with a row: SELECT, encode with msgspec, SET; on connections that stay open.

BENCH_REDIS_URL, BENCH_DATABASE    the servers
"""

import asyncio
import os
import threading
from typing import Any

import msgspec
import psycopg
import redis
import redis.asyncio

ONE = "SELECT * FROM inventory WHERE id = %s"
MANY = "SELECT * FROM inventory WHERE id = ANY(%s)"


class Rows:
    """A session at the database and a connection to the cache; not for two threads at once."""

    def __init__(self) -> None:
        self.client = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
        self._cursor = psycopg.connect(os.environ["BENCH_DATABASE"], autocommit=True).cursor()
        self._names = _names(self._cursor.execute(ONE, [0]))
        self._encode = msgspec.json.Encoder().encode
        self.client.ping()

    def refresh(self, row_id: str) -> None:
        """Bring one row into the cache."""
        row = self._cursor.execute(ONE, [int(row_id)]).fetchone()
        self.write(row_id, self._encode(dict(zip(self._names, row or (), strict=True))))

    def write(self, row_id: str, value: bytes) -> None:
        """Write one value."""
        self.client.set(f"inv:{row_id}", value)

    def refresh_many(self, row_ids: list[int]) -> None:
        """Bring rows into the cache with one query and one command."""
        rows = self._cursor.execute(MANY, [row_ids]).fetchall()
        self.client.mset({f"inv:{row[0]}": self._encode(dict(zip(self._names, row, strict=True))) for row in rows})


class AsyncRows:
    """The same for asyncio: so many sessions at the database, which coroutines take turns with."""

    def __init__(self) -> None:
        self._free: asyncio.Queue[psycopg.AsyncCursor[Any]] = asyncio.Queue()
        self._client = redis.asyncio.Redis.from_url(os.environ["BENCH_REDIS_URL"])
        self._encode = msgspec.json.Encoder().encode

    async def open(self, sessions: int) -> None:
        """Open the connections."""
        for _ in range(sessions):
            connection = await psycopg.AsyncConnection.connect(os.environ["BENCH_DATABASE"], autocommit=True)
            cursor = connection.cursor()
            self._names = _names(await cursor.execute(ONE, [0]))
            self._free.put_nowait(cursor)

    async def refresh(self, row_id: str) -> None:
        """Bring one row into the cache."""
        cursor = await self._free.get()
        try:
            row = await (await cursor.execute(ONE, [int(row_id)])).fetchone()
        finally:
            self._free.put_nowait(cursor)
        await self._client.set(f"inv:{row_id}", self._encode(dict(zip(self._names, row or (), strict=True))))


def _names(cursor: Any) -> list[str]:
    return [column.name for column in cursor.description]


_local = threading.local()


def rows_of_thread() -> Rows:
    """Give the Rows of this thread, opened at its first use: so, after a fork."""
    if not hasattr(_local, "rows"):
        _local.rows = Rows()
    rows: Rows = _local.rows
    return rows
