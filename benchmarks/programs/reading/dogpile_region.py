"""dogpile.cache, backend dogpile.cache.redis: `get`, `get_or_create` of rows that are there, `get_multi`.

The serializer is msgspec's JSON, as with us; locks are those of threads, and no lock is taken for a row that is there.
"""

import os
from typing import Any

import msgspec
from dogpile.cache import make_region

from benchmarks.programs.reading.service import cached_rows, serve


def main() -> None:
    """Serve until the standard input ends."""
    region = make_region(serializer=msgspec.json.encode, deserializer=msgspec.json.decode).configure(
        "dogpile.cache.redis", expiration_time=3600, arguments={"url": os.environ["BENCH_REDIS_URL"]}
    )
    region.set_multi({f"dogpile:{row_id}": row for row_id, row in cached_rows().items()})

    def create() -> Any:
        raise AssertionError("the row is there")

    def get(row_id: str) -> Any:
        return region.get(f"dogpile:{row_id}")

    def get_or_create(row_id: str) -> Any:
        return region.get_or_create(f"dogpile:{row_id}", create)

    def get_many(row_ids: list[str]) -> Any:
        return dict(zip(row_ids, region.get_multi([f"dogpile:{row_id}" for row_id in row_ids]), strict=True))

    serve({"get": get, "create": get_or_create}, {"get": get_many})


if __name__ == "__main__":
    main()
