"""Mapped classes of every kind, as far as they need no database."""

import logging
from typing import Any

import pytest
from sqlalchemy import ForeignKey, inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column, relationship, validates

from rowcache_tasks.errors import ArgumentError, RowTypeError
from rowcache_tasks.reader.types.decoder import RowDecoder


class Base(DeclarativeBase):
    pass


class Employee(Base):
    __tablename__ = "employee"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}  # noqa: RUF012


class Manager(Employee):
    reports: Mapped[int | None]
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012


class Engineer(Employee):
    __tablename__ = "engineer"
    id: Mapped[int] = mapped_column(ForeignKey("employee.id"), primary_key=True)
    language: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012


def test_row_of_a_subclass_is_an_instance_of_it():
    decoder = RowDecoder("employee", Employee)
    manager = decoder.decode("1", b'{"id":1,"kind":"manager","reports":3}')
    assert type(manager) is Manager
    assert manager.reports == 3
    assert type(decoder.decode("2", b'{"id":2,"kind":"employee","reports":null}')) is Employee
    engineer = decoder.decode("3", b'{"id":3,"kind":"engineer","reports":null}')
    assert type(engineer) is Engineer
    assert inspect(engineer).unloaded == {"language"}


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        (Employee, b'{"id":1,"kind":"robot"}', "column 'kind': Expected the identity of a `Employee`, found a string"),
        (Manager, b'{"id":1,"kind":"employee"}', "column 'kind': Expected the identity of a `Manager`"),
        (Employee, b'{"id":1}', "column 'kind': found none"),
    ],
)
def test_row_of_no_class_or_another_one_is_a_row_type_error(wanted, value, expected):
    with pytest.raises(RowTypeError) as caught:
        RowDecoder("employee", wanted).decode("1", value)
    assert expected in str(caught.value)


def test_mapped_dataclass_is_made_without_its_init():
    class Data(MappedAsDataclass, DeclarativeBase):
        pass

    class Row(Data):
        __tablename__ = "row"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    row = RowDecoder("row", Row).decode("1", b'{"id":1,"name":"x"}')
    assert (row.id, row.name) == (1, "x")
    assert inspect(row).detached


def test_validators_do_not_look_at_what_the_database_holds():
    class Checked(Base):
        __tablename__ = "checked"
        id: Mapped[int] = mapped_column(primary_key=True)

        @validates("id")
        def refuse(self, _key, _value):
            raise AssertionError("a row that exists is checked again")

    assert RowDecoder("checked", Checked).decode("1", b'{"id":1}').id == 1


def test_decoder_may_be_made_before_all_classes_are_mapped():
    class Early(DeclarativeBase):
        pass

    class Order(Early):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"), primary_key=True)
        customer: Mapped["Customer"] = relationship("Customer")

    decoder = RowDecoder("orders", Order)

    class Customer(Early):
        __tablename__ = "customer"
        id: Mapped[int] = mapped_column(primary_key=True)

    assert decoder.decode("1", b'{"id":1,"customer_id":2}').customer_id == 2
    Early.registry.dispose()


def refused(wanted):
    with pytest.raises(ArgumentError) as caught:
        RowDecoder("inv", wanted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_class_that_cannot_be_read_is_refused_at_once():
    class Unmapped(Employee):
        __abstract__ = True

    class Two(Base):
        __tablename__ = "two"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]

    class Joined(Two):
        __tablename__ = "joined"
        id: Mapped[int] = mapped_column(ForeignKey("two.id"), primary_key=True)
        other: Mapped[str] = mapped_column("kind")

    class Ranged(Base):
        __tablename__ = "ranged"
        id: Mapped[Any] = mapped_column(postgresql.INT4RANGE, primary_key=True)

    assert "which SQLAlchemy does not map: give the mapped class" in refused(Unmapped)
    assert "type is Base, which is no type of a row" in refused(Base)
    assert "maps two columns 'kind'" in refused(Joined)
    assert "id is part of its primary key, and INT4RANGE() cannot be read from JSON" in refused(Ranged)


def test_value_that_is_no_row_is_not_cached_for_a_mapped_class_too(caplog):
    caplog.set_level(logging.WARNING)
    assert RowDecoder("inv", Employee).decode("42", b"[]") is None
    assert "counts as not cached" in caplog.text
