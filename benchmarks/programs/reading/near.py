"""Rows in the reader's own process: RowCache(near=…), and redis-py's client-side caching with msgspec.

redis-py's client-side caching refuses every server but Redis from 7.4 on, and trips over Unix sockets: attributes are
set so that it takes Valkey, which speaks the same protocol, and its socket. Both keep bytes and decode them for every
caller, who may change what it got.
"""

import os
import time
from typing import Any

import msgspec
import redis
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection, UnixDomainSocketConnection

from benchmarks.programs.reading.order import ROWS, TIMEOUT_S
from benchmarks.programs.reading.service import ROW_IDS, serve
from rowcache_tasks import RowCache


def main() -> None:
    """Serve until the standard input ends."""
    url = os.environ["BENCH_REDIS_URL"]
    CacheProxyConnection.DEFAULT_SERVER_NAME = "valkey"
    CacheProxyConnection.MIN_ALLOWED_VERSION = "0"
    UnixDomainSocketConnection.host, UnixDomainSocketConnection.port = "", 0
    client = redis.Redis.from_url(url, protocol=3, cache_config=CacheConfig(max_size=2 * ROWS))
    decode = msgspec.json.Decoder(dict).decode
    cache = RowCache("inventory", url=url, timeout=TIMEOUT_S, near=2 * ROWS)

    def get(row_id: str) -> Any:
        return decode(client.get(f"inv:{row_id}"))

    def get_many(row_ids: list[str]) -> Any:
        values = client.mget([f"inv:{row_id}" for row_id in row_ids])
        return {row_id: decode(value) for row_id, value in zip(row_ids, values, strict=True)}

    while cache.near_statistics().rows < ROWS:  # type: ignore[union-attr]
        cache.get_many(ROW_IDS)
        time.sleep(0.01)

    def prepare() -> None:
        """Have all rows here: on a machine that stands still for a second, a near cache forgets them."""
        cache.get_many(ROW_IDS)
        get_many(ROW_IDS)

    serve({"client": get, "ours": cache.get}, {"client": get_many, "ours": cache.get_many}, prepare)


if __name__ == "__main__":
    main()
