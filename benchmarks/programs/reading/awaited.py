"""AsyncRowCache, beside the client that it reads with: redis.asyncio with hiredis, GET, and msgspec.

An argument "near" makes it AsyncRowCache(near=…) alone, whose thread would be another's guest else. The loop is that of
the standard library, here and with all contenders; the bare client may open as many connections as there are readers.
"""

import asyncio
import os
import sys
from typing import Any

import msgspec
import redis.asyncio

from benchmarks.programs.reading.order import ROWS, TIMEOUT_S
from benchmarks.programs.reading.service import ROW_IDS, serve_async
from rowcache_tasks import AsyncRowCache, ReadThrough


async def main() -> None:
    """Serve until the standard input ends."""
    url = os.environ["BENCH_REDIS_URL"]
    client = redis.asyncio.Redis.from_url(url)
    decode = msgspec.json.Decoder(dict).decode
    read_through = ReadThrough(database_url=os.environ["BENCH_SQLALCHEMY"])
    cache = AsyncRowCache("inventory", url=url, timeout=TIMEOUT_S, read_through=read_through)

    async def get(row_id: str) -> Any:
        return decode(await client.get(f"inv:{row_id}"))

    async def fill(row_id: str) -> Any:
        return await cache.get(row_id, fill=True)

    await serve_async({"bare": get, "ours": cache.get, "fill": fill})


async def main_near() -> None:
    """Serve what is kept in this process."""
    cache = AsyncRowCache("inventory", url=os.environ["BENCH_REDIS_URL"], timeout=TIMEOUT_S, near=2 * ROWS)
    while cache.near_statistics().rows < ROWS:  # type: ignore[union-attr]
        await cache.get_many(ROW_IDS)
        await asyncio.sleep(0.01)
    # On a machine that stands still for a second, a near cache forgets its rows.
    await serve_async({"ours": cache.get}, lambda: cache.get_many(ROW_IDS))


if __name__ == "__main__":
    asyncio.run(main_near() if "near" in sys.argv else main())
