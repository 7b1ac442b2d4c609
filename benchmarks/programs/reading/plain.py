"""RowCache, beside the client that it reads with: redis-py with hiredis, GET or MGET, and msgspec.

Both in one process, which has no other thread than those that read. The bare client has redis-py's default settings,
as has ours, but for its time-out.
"""

import os
from typing import Any

import msgspec
import redis

from benchmarks.programs.reading.order import TIMEOUT_S
from benchmarks.programs.reading.service import serve
from rowcache_tasks import ReadThrough, RowCache


def main() -> None:
    """Serve until the standard input ends."""
    url = os.environ["BENCH_REDIS_URL"]
    client = redis.Redis.from_url(url)
    decode = msgspec.json.Decoder(dict).decode
    read_through = ReadThrough(database_url=os.environ["BENCH_SQLALCHEMY"])
    cache = RowCache("inventory", url=url, timeout=TIMEOUT_S, read_through=read_through)

    def get(row_id: str) -> Any:
        return decode(client.get(f"inv:{row_id}"))

    def get_many(row_ids: list[str]) -> Any:
        values = client.mget([f"inv:{row_id}" for row_id in row_ids])
        return {row_id: decode(value) for row_id, value in zip(row_ids, values, strict=True)}

    def fill(row_id: str) -> Any:
        return cache.get(row_id, fill=True)

    def fill_many(row_ids: list[str]) -> Any:
        return cache.get_many(row_ids, fill=True)

    serve({"bare": get, "ours": cache.get, "fill": fill}, {"bare": get_many, "ours": cache.get_many, "fill": fill_many})


if __name__ == "__main__":
    main()
