"""aiocache's RedisCache: `get`, a function decorated with `cached`.

The serializer is msgspec's JSON, as with us; its own time-out, a task more for each read, is off: the client has one.
"""

import asyncio
import os
from typing import Any

import msgspec
from aiocache import RedisCache, cached
from aiocache.serializers import BaseSerializer
from redis.asyncio import ConnectionPool

from benchmarks.programs.reading.service import cached_rows, serve_async


class Serializer(BaseSerializer):  # type: ignore[misc]
    """Bytes, so that nothing is decoded twice."""

    DEFAULT_ENCODING = None
    dumps = staticmethod(msgspec.json.encode)
    loads = staticmethod(msgspec.json.decode)


def make_pool(**_: object) -> ConnectionPool:
    """Give connections to a Unix socket, which RedisCache has no option for."""
    return ConnectionPool.from_url(os.environ["BENCH_REDIS_URL"])


async def main() -> None:
    """Serve until the standard input ends."""
    options = {"serializer": Serializer(), "timeout": 0, "namespace": "aiocache", "connection_pool_class": make_pool}
    cache = RedisCache(**options)
    await cache.multi_set(cached_rows().items(), ttl=3600)

    @cached(ttl=3600, cache=RedisCache, key_builder=lambda _, row_id: row_id, **options)  # type: ignore[misc]
    async def read(_row_id: str) -> Any:
        raise AssertionError("the row is there")

    await serve_async({"get": cache.get, "cached": read})


if __name__ == "__main__":
    asyncio.run(main())
