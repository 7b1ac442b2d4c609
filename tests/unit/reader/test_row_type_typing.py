"""What a type checker makes of typed rows: `make lint` checks this module with mypy, and the tests run it."""

from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

import msgspec
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from rowcache_tasks import AsyncRowCache, RowCache
from rowcache_tasks.reader.types.decoder import RowDecoder

VALUE = b'{"id":42}'


class Struct(msgspec.Struct):
    id: int


@dataclass
class Dataclass:
    id: int


class Dict(TypedDict):
    id: int


class Base(DeclarativeBase):
    pass


class Inventory(Base):
    __tablename__ = "inventory"
    id: Mapped[int] = mapped_column(primary_key=True)


def test_type_checker_knows_the_type_of_a_row() -> None:
    assert_type(RowDecoder("inv").decode("42", VALUE), dict[str, Any] | None)
    assert_type(RowDecoder("inv", Struct).decode("42", VALUE), Struct | None)
    assert_type(RowDecoder("inv", Dataclass).decode("42", VALUE), Dataclass | None)
    assert_type(RowDecoder("inv", Dict).decode("42", VALUE), Dict | None)
    assert_type(RowDecoder("inv", dict[str, int]).decode("42", VALUE), dict[str, int] | None)
    row = RowDecoder("inv", type=Inventory).decode("42", VALUE)
    assert_type(row, Inventory | None)
    assert row is not None
    assert_type(row.id, int)
    assert row.id == 42


async def never_run() -> None:
    """Only for the type checker: the readers hand the type through."""
    inv = RowCache("inv", url="redis://localhost", type=Inventory)
    assert_type(inv.get("42"), Inventory | None)
    assert_type(RowCache("inv").get("42"), dict[str, Any] | None)
    found = inv.get_with_age("42")
    assert found is not None
    assert_type(found.row, Inventory)
    users = AsyncRowCache("users", url="redis://localhost", type=Struct)
    assert_type(await users.get("7"), Struct | None)
