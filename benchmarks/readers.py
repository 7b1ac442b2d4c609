"""Readers of rows: this package, Redis, PostgreSQL, django-redis.

All read over the same Unix socket. The bare client is redis-py with hiredis and its default settings, and msgspec.
PostgreSQL is read over one connection in autocommit, with a prepared statement. django-redis, the fastest of the other
cache libraries measured in November 2026, has a copy of the rows, and msgspec as its serializer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import django.conf
import msgspec
import redis
from django.core.cache import caches
from django_redis.serializers.base import BaseSerializer
from psycopg.rows import dict_row
from support.waiting import wait_until

from benchmarks.servers import Servers
from rowcache_tasks import RowCache

ROWS = 1000
"""The rows 1 to ROWS are read in this order, again and again."""

ROW_IDS = [str(n) for n in range(1, ROWS + 1)]
MANY = 100
"""Rows in one call of a reader of many rows."""

TIMEOUT_S = 30.0

COLUMNS = {"id", "sku", "price", "attributes", "updated_at"}

Read = Callable[[Any], Any]


@dataclass(frozen=True)
class Race:
    """Readers that take turns; the first is the one that the others are compared with."""

    name: str
    caption: str
    readers: Mapping[str, Read]
    ours: str
    rows: int = 1


class MsgspecSerializer(BaseSerializer):  # type: ignore[misc]
    """JSON of msgspec, for OPTIONS["SERIALIZER"] of django-redis."""

    dumps = staticmethod(msgspec.json.encode)
    loads = staticmethod(msgspec.json.decode)


@contextmanager
def open_races(servers: Servers) -> Iterator[list[Race]]:
    """Fill the cache, open the readers, and check that each returns the rows."""
    url = servers.valkey.url
    with ExitStack() as stack:
        client = stack.enter_context(redis.Redis.from_url(url))
        cache, near = (RowCache("inv", url=url, timeout=TIMEOUT_S, near=rows) for rows in (0, 2 * ROWS))
        stack.callback(cache.close)
        stack.callback(near.close)
        get, get_many = bare(client)
        select, select_many = database(servers, stack)
        client.mset({f"inv:{row_id}": msgspec.json.encode(row) for row_id, row in select_many(ROW_IDS).items()})
        other = django_redis(url, get_many(ROW_IDS))
        wait_until(lambda: near.get_many(ROW_IDS) and kept_rows(near) >= ROWS, "the near cache is full")
        one = {
            "redis-py: GET, msgspec": get,
            "RowCache.get": cache.get,
            "django-redis: get": other.get,
            "PostgreSQL: psycopg, prepared": select,
        }
        many = {
            "redis-py: MGET, msgspec": get_many,
            "RowCache.get_many": cache.get_many,
            "django-redis: get_many": other.get_many,
            "PostgreSQL: psycopg, prepared": select_many,
        }
        hit = {"redis-py: GET, msgspec": get, "RowCache(near=…).get": near.get}
        races = [
            Race("one", "One row a call", one, "RowCache.get"),
            Race("many", f"{MANY} rows a call", many, "RowCache.get_many", rows=MANY),
            Race("near", "A hit of the near cache, one row a call", hit, "RowCache(near=…).get"),
        ]
        for race in races:
            for label, read in race.readers.items():
                check(label, read, race.rows)
        yield races


def kept_rows(near: RowCache[Any]) -> int:
    """Count the rows in the near cache."""
    statistics = near.near_statistics()
    return statistics.rows if statistics else 0


def bare(client: Any) -> tuple[Read, Read]:
    """Return the readers of the bare client."""
    decode = msgspec.json.Decoder(dict).decode

    def get(row_id: str) -> Any:
        return decode(client.get(f"inv:{row_id}"))

    def get_many(row_ids: Sequence[str]) -> Any:
        values = client.mget([f"inv:{row_id}" for row_id in row_ids])
        return {row_id: decode(value) for row_id, value in zip(row_ids, values, strict=True)}

    return get, get_many


def database(servers: Servers, stack: ExitStack) -> tuple[Read, Read]:
    """Return the readers of PostgreSQL."""
    cursor = stack.enter_context(servers.connect()).cursor(row_factory=dict_row)

    def select(row_id: str) -> Any:
        return cursor.execute("SELECT * FROM inventory WHERE id = %s", [int(row_id)], prepare=True).fetchone()

    def select_many(row_ids: Sequence[str]) -> Any:
        ids = [int(row_id) for row_id in row_ids]
        rows = cursor.execute("SELECT * FROM inventory WHERE id = ANY(%s)", [ids], prepare=True).fetchall()
        found = {row["id"]: row for row in rows}
        return {row_id: found[n] for row_id, n in zip(row_ids, ids, strict=True)}

    return select, select_many


def django_redis(url: str, rows: Mapping[str, Any]) -> Any:
    """Return the cache of Django with a copy of the rows."""
    if not django.conf.settings.configured:
        options = {"SERIALIZER": f"{__name__}.{MsgspecSerializer.__name__}"}
        backend = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "KEY_PREFIX": "django"}
        django.conf.settings.configure(CACHES={"default": backend | {"TIMEOUT": 3600, "OPTIONS": options}})
    caches["default"].set_many(dict(rows))
    return caches["default"]


def check(label: str, read: Read, rows: int) -> None:
    """Read all rows, and check that these are the rows."""
    for start in range(0, ROWS, rows):
        row_ids = ROW_IDS[start : start + rows]
        found = read(row_ids).values() if rows > 1 else [read(row_ids[0])]
        assert [str(row["id"]) for row in found] == row_ids, f"{label}: {found}"
        assert all(set(row) >= COLUMNS for row in found), f"{label}: {found}"
