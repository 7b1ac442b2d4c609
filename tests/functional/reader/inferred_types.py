"""Every public call of readers and tasks, with the type that type checkers infer; test_inferred_types.py compares.

`# refused`: an error. Where the two differ: `# mypy: …; pyright: …`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypedDict, reveal_type

import msgspec
import redis
import redis.asyncio
from pydantic import BaseModel
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import rowcache_tasks
from rowcache_tasks import AsyncRowCache, ReadThrough, Refresher, RowCache, install, row_id
from rowcache_tasks.tasks import (
    pause_table,
    reconcile_table,
    refresh_now,
    schedule_query,
    schedule_row,
    schedule_rows,
    schedule_table,
    unschedule_row,
    unschedule_rows,
)


class Struct(msgspec.Struct):
    id: int


@dataclass
class Plain:
    id: int


class Dict(TypedDict):
    id: int


class Model(BaseModel):
    id: int


class Base(DeclarativeBase):
    pass


class Inventory(Base):
    __tablename__ = "inventory"
    id: Mapped[int] = mapped_column(primary_key=True)


class Structs(RowCache[Struct]):
    """A subclass that fixes its type."""


class AsyncStructs(AsyncRowCache[Struct]):
    """A subclass that fixes its type."""


class WithOptions(RowCache[Struct]):
    """A subclass that passes options on."""

    def __init__(self, timeout: float) -> None:
        super().__init__("inv", type=Struct, url="redis://localhost", timeout=timeout)


def untyped(client: redis.Redis, keys: list[str | int]) -> None:
    cache = RowCache("inv")
    reveal_type(cache)  # RowCache[dict[str, Any]]
    reveal_type(cache.get("42"))  # dict[str, Any] | None
    reveal_type(cache.get(42, max_age=5, fill=True, delay=10))  # dict[str, Any] | None
    reveal_type(cache.get_many(["42", "43"]))  # dict[str, dict[str, Any] | None]
    reveal_type(cache.get_many(range(3), fill=True))  # dict[int, dict[str, Any] | None]
    reveal_type(cache.get_many(keys, max_age=1.5))  # dict[str | int, dict[str, Any] | None]
    print(cache.get_many([42, "43"]), cache.get_many(["42", 43], max_age=5))
    reveal_type(cache.get_many([(7, "a"), (8, "b")]))  # dict[tuple[int, str], dict[str, Any] | None]
    reveal_type(cache.get_many(iter([date(2026, 1, 2)])))  # dict[date, dict[str, Any] | None]
    reveal_type(cache.get((7, b"a", True), max_age=timedelta(seconds=5)))  # dict[str, Any] | None
    reveal_type(cache.get_with_age("42"))  # CachedRow[dict[str, Any]] | None
    reveal_type(cache.get_with_age(42, max_age=5, fill=True))  # CachedRow[dict[str, Any]] | None
    reveal_type(cache.age("42"))  # float | None
    reveal_type(cache.exists(42))  # bool
    reveal_type(cache.near_statistics())  # NearStatistics | None
    reveal_type(cache.table)  # Table
    reveal_type(cache.close())  # None
    reveal_type(RowCache("inv", type=None))  # RowCache[dict[str, Any]]
    reveal_type(RowCache("inv", url="unix:///x", near=10, read_through=ReadThrough()))  # RowCache[dict[str, Any]]
    reveal_type(RowCache("inv", client=client, namespace="inv"))  # RowCache[dict[str, Any]]


def typed() -> None:
    reveal_type(RowCache("inv", type=dict))  # mypy: RowCache[dict[Any, Any]]; pyright: RowCache[dict[Unknown, Unknown]]
    reveal_type(RowCache("inv", type=dict[str, int]))  # RowCache[dict[str, int]]
    reveal_type(RowCache("inv", type=Struct))  # RowCache[Struct]
    reveal_type(RowCache("inv", type=Plain, url="redis://localhost", near=1))  # RowCache[Plain]
    reveal_type(RowCache("inv", type=Dict, namespace="x", url="unix:///x"))  # RowCache[Dict]
    reveal_type(RowCache("inv", type=Inventory, timeout=1))  # RowCache[Inventory]
    for_struct = RowCache("inv", type=Struct)
    reveal_type(for_struct.get("42"))  # Struct | None
    reveal_type(for_struct.get(42, max_age=5, fill=True, delay=10))  # Struct | None
    reveal_type(for_struct.get_many(["42", "43"]))  # dict[str, Struct | None]
    reveal_type(for_struct.get_many({1, 2}))  # dict[int, Struct | None]
    reveal_type(for_struct.get_with_age("42"))  # CachedRow[Struct] | None
    reveal_type(for_struct.age(42))  # float | None
    reveal_type(for_struct.exists("42"))  # bool
    reveal_type(for_struct.near_statistics())  # NearStatistics | None
    for_plain = RowCache("inv", type=Plain)
    reveal_type(for_plain.get("42"))  # Plain | None
    reveal_type(for_plain.get_many(["42"]))  # dict[str, Plain | None]
    reveal_type(for_plain.get_with_age("42"))  # CachedRow[Plain] | None
    for_dict = RowCache("inv", type=Dict)
    reveal_type(for_dict.get("42"))  # Dict | None
    reveal_type(for_dict.get_many(["42"]))  # dict[str, Dict | None]
    reveal_type(for_dict.get_with_age("42"))  # CachedRow[Dict] | None
    reveal_type(RowCache("inv", type=Model).get(42))  # Model | None
    for_mapped = RowCache("inv", type=Inventory)
    reveal_type(for_mapped.get("42"))  # Inventory | None
    reveal_type(for_mapped.get_many(["42"]))  # dict[str, Inventory | None]
    reveal_type(for_mapped.get_with_age("42"))  # CachedRow[Inventory] | None


def subclassed() -> None:
    structs = Structs("inv", type=Struct, near=10)
    reveal_type(structs)  # Structs
    reveal_type(structs.get("42"))  # Struct | None
    reveal_type(structs.get_many([42]))  # dict[int, Struct | None]
    reveal_type(structs.get_with_age("42"))  # CachedRow[Struct] | None
    async_structs = AsyncStructs("inv", type=Struct, timeout=2)
    reveal_type(async_structs)  # AsyncStructs
    reveal_type(WithOptions(2).get("42"))  # Struct | None
    reveal_type(RowCache[Struct]("inv", type=Struct))  # RowCache[Struct]


async def awaited(client: redis.asyncio.Redis, keys: list[str | int]) -> AsyncIterator[object]:
    cache = AsyncRowCache("inv")
    reveal_type(cache)  # AsyncRowCache[dict[str, Any]]
    reveal_type(await cache.get("42"))  # dict[str, Any] | None
    reveal_type(await cache.get(42, max_age=5, fill=True, delay=10))  # dict[str, Any] | None
    reveal_type(await cache.get_many(["42", "43"]))  # dict[str, dict[str, Any] | None]
    reveal_type(await cache.get_many(range(3), fill=True))  # dict[int, dict[str, Any] | None]
    reveal_type(await cache.get_many(keys, max_age=1.5))  # dict[str | int, dict[str, Any] | None]
    reveal_type(await cache.get_with_age("42"))  # CachedRow[dict[str, Any]] | None
    reveal_type(await cache.get_with_age(42, max_age=5, fill=True))  # CachedRow[dict[str, Any]] | None
    reveal_type(await cache.age("42"))  # float | None
    reveal_type(await cache.exists(42))  # bool
    reveal_type(cache.near_statistics())  # NearStatistics | None
    reveal_type(cache.table)  # Table
    reveal_type(await cache.close())  # None
    reveal_type(AsyncRowCache("inv", type=None))  # AsyncRowCache[dict[str, Any]]
    reveal_type(AsyncRowCache("inv", client=client, namespace="inv"))  # AsyncRowCache[dict[str, Any]]
    reveal_type(AsyncRowCache("inv", type=dict[str, int]))  # AsyncRowCache[dict[str, int]]
    for_struct = AsyncRowCache("inv", type=Struct, url="redis://localhost", near=1)
    reveal_type(for_struct)  # AsyncRowCache[Struct]
    reveal_type(await for_struct.get("42"))  # Struct | None
    reveal_type(await for_struct.get_many(["42", "43"]))  # dict[str, Struct | None]
    reveal_type(await for_struct.get_many({1, 2}))  # dict[int, Struct | None]
    reveal_type(await for_struct.get_with_age("42"))  # CachedRow[Struct] | None
    for_plain = AsyncRowCache("inv", type=Plain)
    reveal_type(await for_plain.get("42"))  # Plain | None
    reveal_type(await for_plain.get_with_age("42"))  # CachedRow[Plain] | None
    for_dict = AsyncRowCache("inv", type=Dict)
    reveal_type(await for_dict.get_many(["42"]))  # dict[str, Dict | None]
    for_mapped = AsyncRowCache("inv", type=Inventory)
    reveal_type(await for_mapped.get("42"))  # Inventory | None
    structs = AsyncStructs("inv", type=Struct, timeout=2)
    reveal_type(await structs.get_many(["42"]))  # dict[str, Struct | None]
    reveal_type(await for_mapped.get_with_age("42"))  # CachedRow[Inventory] | None
    yield cache


def tasked(delays: dict[str, int]) -> None:
    reveal_type(schedule_row.delay("inv", 42, 10))  # AsyncResult[dict[str, int]]
    reveal_type(schedule_row("inv", row_id=(7, "a"), delay=timedelta(seconds=5)))  # dict[str, int]
    reveal_type(schedule_rows.delay("inv", delays))  # AsyncResult[dict[str, int]]
    reveal_type(schedule_rows.delay("inv", {42: 10, "43": 60.5}))  # AsyncResult[dict[str, int]]
    reveal_type(refresh_now.delay("inv", [42, "43"]))  # AsyncResult[dict[str, int]]
    reveal_type(refresh_now.apply_async(("inv", {42}), countdown=3))  # AsyncResult[dict[str, int]]
    reveal_type(unschedule_rows.delay("inv", (n for n in range(3))))  # AsyncResult[dict[str, int]]
    reveal_type(schedule_table.delay("inv", timedelta(minutes=1)))  # AsyncResult[dict[str, int]]
    reveal_type(schedule_rows.delay("inv", {(7, "a"): timedelta(seconds=5)}))  # AsyncResult[dict[str, int]]
    reveal_type(schedule_row.si("inv", (7, "a"), 10))  # Signature[dict[str, int]]
    reveal_type(refresh_now.s(table="inv"))  # Signature[dict[str, int]]
    reveal_type(pause_table.delay(table="inv"))  # AsyncResult[dict[str, int]]
    reveal_type(row_id(7, date(2026, 1, 2)))  # str
    reveal_type(Refresher().refresh_tables({"inv": [42, "43"], "seat": {(1, "a")}}))  # int


def refused(client: redis.Redis) -> None:
    """Calls that a type checker must refuse."""
    rowcache_tasks.RowCach("inv")  # refused
    RowCache()  # refused
    RowCache("inv", "redis://localhost")  # refused
    RowCache("inv", tpye=Struct)  # refused
    RowCache("inv", type=42)  # refused
    RowCache("inv", url=42)  # refused
    RowCache("inv", near="many")  # refused
    AsyncRowCache("inv", client=client)  # refused
    RowCache("inv").get(1.5)  # refused
    RowCache("inv").get_many([None])  # refused
    RowCache("inv").get("42", max_aeg=5)  # refused
    RowCache("inv").get_many("42")  # refused
    RowCache("inv").get_many([1.5], fill=True)  # refused
    Refresher().refresh_now("inv", "42")  # refused
    row_id(1.5)  # refused
    schedule_row.delay("inv", 42)  # refused
    schedule_row.delay("inv", 42, "10")  # refused
    schedule_row.delay(42, "inv", 10)  # refused
    schedule_row.delay("inv", None, 10)  # refused
    schedule_row.delay("inv", [42], 10)  # refused
    schedule_row.delay("inv", 42, dealy=10)  # refused
    schedule_row.apply_async("inv", 42, 10)  # refused
    schedule_rows.delay("inv", [42])  # refused
    schedule_rows.delay("inv", {42: "10"})  # refused
    refresh_now.delay("inv", "42")  # refused
    refresh_now.delay("inv", 42)  # refused
    unschedule_rows.delay("inv", [None])  # refused
    schedule_table.delay("inv")  # refused
    pause_table.delay(42)  # refused
    schedule_row.si("inv", 42)  # refused
    schedule_row.si("inv", 42, "10")  # refused
    schedule_rows.delay({42: 10})  # refused
    schedule_rows.delay("inv", {None: 10})  # refused
    schedule_rows.delay("inv", ((key, 10) for key in range(3)))  # refused
    unschedule_row.delay("inv", [42])  # refused
    unschedule_rows.delay("inv", {"42"}, 10)  # refused
    refresh_now.delay(["42"])  # refused
    schedule_query.delay("inv", 60)  # refused
    reconcile_table.delay("inv", delay=None)  # refused
    install("proj")  # refused
    wrong: RowCache[Struct] = RowCache("inv")  # refused
    async_wrong: AsyncRowCache[Struct] = AsyncRowCache("inv")  # refused
    print(wrong, async_wrong)
