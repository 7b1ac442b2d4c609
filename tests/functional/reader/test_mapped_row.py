"""Cached rows of a real database as instances of mapped classes: what a Session would have loaded, without SQL."""

from decimal import Decimal
from typing import Any, Optional

import pytest
from sqlalchemy import JSON, ForeignKey, Numeric, inspect
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    column_property,
    composite,
    mapped_column,
    relationship,
)
from sqlalchemy.orm.exc import DetachedInstanceError
from support.scratch_database import encoded_row
from support.sent_sql import record_statements

from rowcache_tasks.errors import RowTypeError
from rowcache_tasks.reader.types.decoder import RowDecoder

INVENTORY = (
    "CREATE TABLE shelf (id integer PRIMARY KEY, name text)",
    "INSERT INTO shelf VALUES (7, 'top')",
    "CREATE TABLE inventory (id integer PRIMARY KEY, label text NOT NULL, price numeric(8,2), x integer, y integer,"
    " extra json, shelf_id integer REFERENCES shelf)",
    """INSERT INTO inventory VALUES (42, 'ball', 12.30, 1, 2, '{"color": "red"}', 7)""",
)


class Base(DeclarativeBase):
    pass


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __composite_values__(self) -> tuple[int, int]:
        return self.x, self.y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None


class Shelf(Base):
    __tablename__ = "shelf"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Item(Base):
    __tablename__ = "inventory"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column("label")
    price: Mapped[Decimal | None] = mapped_column(Numeric(8, 2))
    x: Mapped[int | None] = mapped_column()
    y: Mapped[int | None] = mapped_column()
    extra: Mapped[dict[str, Any] | None] = mapped_column(MutableDict.as_mutable(JSON()))
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelf.id"))
    shelf: Mapped[Optional["Shelf"]] = relationship()
    place: Mapped[Point] = composite(Point, x, y)
    doubled: Mapped[int] = column_property(x * 2)

    def __init__(self) -> None:
        raise AssertionError("a row that exists is not made anew")


@pytest.fixture
def item(db):
    db.run(*INVENTORY)
    return RowDecoder("inv", Item).decode("42", encoded_row(db, "inventory"))


def test_instance_is_detached_and_unmodified_with_the_values_of_the_row(item):
    state = inspect(item)
    assert state.detached
    assert state.identity == (42,)
    assert not state.modified
    assert (item.id, item.name, item.price, item.x, item.place) == (42, "ball", Decimal("12.30"), 1, Point(1, 2))
    assert state.unloaded == {"shelf", "doubled"}
    with pytest.raises(DetachedInstanceError):
        _ = item.shelf


def test_merged_instance_is_in_the_session_without_sql_and_loads_the_rest(item, session):
    sent = record_statements(session.get_bind())
    merged = session.merge(item, load=False)
    assert merged is session.get(Item, 42)
    assert (merged.name, merged.price, merged.shelf_id, merged.extra) == ("ball", Decimal("12.30"), 7, {"color": "red"})
    assert merged.place == Point(1, 2)
    assert sent == []
    assert merged.shelf.name == "top"
    assert len(sent) == 1
    assert merged.doubled == 2
    assert len(sent) == 2


def test_only_what_is_changed_after_the_merge_is_written(item, session):
    merged = session.merge(item, load=False)
    sent = record_statements(session.get_bind())
    session.flush()
    assert sent == []
    merged.name = "cube"
    merged.extra["color"] = "blue"
    session.commit()
    [update] = [statement for statement in sent if statement.startswith("UPDATE")]
    assert "label=" in update
    assert "extra=" in update
    assert "price=" not in update
    assert session.get(Item, 42).name == "cube"


def test_column_that_is_not_cached_stays_unloaded_until_it_is_asked_for(db, session):
    db.run(*INVENTORY)
    item = RowDecoder("inv", Item).decode("42", encoded_row(db, "inventory", columns=("id", "label")))
    assert item.name == "ball"
    with pytest.raises(DetachedInstanceError):
        _ = item.price
    sent = record_statements(session.get_bind())
    merged = session.merge(item, load=False)
    assert merged.name == "ball"
    assert sent == []
    assert merged.price == Decimal("12.30")
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"label":"ball"}', "column 'id': found none, and the field has no default"),
        (b'{"id":42,"label":null}', "column 'label': Expected `str`, got `null`"),
        (b'{"id":42,"label":"ball","price":"secret"}', "column 'price': Invalid decimal string, found a string of 6"),
        (b'{"id":42,"label":"ball","x":"1"}', "column 'x': Expected `int | null`, got `str`"),
    ],
)
def test_row_that_does_not_fit_the_mapping_is_a_row_type_error(value, expected):
    with pytest.raises(RowTypeError) as caught:
        RowDecoder("inv", Item).decode("42", value)
    assert f"row '42' of inv does not fit Item: {expected}" in str(caught.value)
