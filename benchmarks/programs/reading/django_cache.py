"""Django's cache with django-redis: `get`, `get_or_set` of rows that are there, `get_many`.

The serializer is msgspec's JSON, as with us. hiredis is what redis-py takes by itself.
"""

import os
from typing import Any

import msgspec
from django.conf import settings
from django_redis.serializers.base import BaseSerializer

from benchmarks.programs.reading.service import cached_rows, serve


class Serializer(BaseSerializer):  # type: ignore[misc]
    """What OPTIONS["SERIALIZER"] names."""

    dumps = staticmethod(msgspec.json.encode)
    loads = staticmethod(msgspec.json.decode)


def main() -> None:
    """Serve until the standard input ends."""
    options = {"SERIALIZER": f"{Serializer.__module__}.Serializer"}
    location = os.environ["BENCH_REDIS_URL"]
    settings.configure(
        CACHES={
            "default": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": location,
                "TIMEOUT": 3600,
                "KEY_PREFIX": "django",
                "OPTIONS": options,
            }
        }
    )
    from django.core.cache import caches  # noqa: PLC0415 - needs the settings

    cache = caches["default"]
    cache.set_many(cached_rows())

    def get_or_set(row_id: str) -> Any:
        return cache.get_or_set(row_id, None)

    serve({"get": cache.get, "set": get_or_set}, {"get": cache.get_many})


if __name__ == "__main__":
    main()
