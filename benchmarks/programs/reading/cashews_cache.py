"""cashews with Redis: `get`, `get_or_set` of rows that are there; with "near", its client-side cache.

Its own JSON, which cannot be exchanged; the check of each value by repr() is off, and there is a connection for each
reader. The client-side cache gives all callers the same object, undecoded; it keeps up to 10,000.
"""

import asyncio
import os
import sys
from typing import Any

from cashews import Cache, register_backend
from cashews.backends.redis import Redis
from cashews.backends.redis.client_side import BcastClientSide
from cashews.picklers import PicklerType

from benchmarks.programs.reading.order import TIMEOUT_S
from benchmarks.programs.reading.service import ROW_IDS, cached_rows, serve_async


async def main() -> None:
    """Serve until the standard input ends."""
    # Out of the box it knows no URL of a Unix socket; its client does.
    register_backend("unix", BcastClientSide if "near" in sys.argv else Redis, pass_uri=True, pickler=PicklerType.JSON)
    cache = Cache()
    url = os.environ["BENCH_REDIS_URL"].partition("?")[0]
    cache.setup(url, check_repr=False, max_connections=100, socket_timeout=TIMEOUT_S)
    await cache.set_many({f"cashews:{row_id}": row for row_id, row in cached_rows().items()}, expire=3600)

    async def create() -> Any:
        raise AssertionError("the row is there")

    async def get(row_id: str) -> Any:
        return await cache.get(f"cashews:{row_id}")

    async def get_or_set(row_id: str) -> Any:
        return await cache.get_or_set(f"cashews:{row_id}", create, expire=3600)

    async def prepare() -> None:
        """Have all rows in the client-side cache."""
        await cache.get_many(*[f"cashews:{row_id}" for row_id in ROW_IDS])

    await serve_async({"get": get, "set": get_or_set}, prepare if "near" in sys.argv else None)


if __name__ == "__main__":
    asyncio.run(main())
