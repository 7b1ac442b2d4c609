"""Own how a mapped column's value is read from JSON: what msgspec decodes, and what SQLAlchemy's type makes of that.

Imports SQLAlchemy, so only mapped_row.py may import it. Must not know mappers or Redis.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ARRAY, JSON, Enum, Float, Interval, TypeDecorator, Uuid
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.types import TypeEngine

Convert = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class ColumnReading:
    """How the values of one column are read."""

    annotation: Any
    """What msgspec decodes, NULL apart."""
    convert: Convert | None = None
    """Turns that into the attribute's value; raises msgspec.ValidationError with the reason."""
    converts_null: bool = False


DIALECT = DefaultDialect()
"""For types that ask for one; the database's own is not known to a reader."""

NATIVE = frozenset({int, str, bytes, float, Decimal, date, datetime, time, UUID})
"""Python types of columns that msgspec reads as a Session would."""

DURATION = re.compile(
    r"P(?=.)(?:(?P<days>-?\d+)D)?"
    r"(?:T(?=.)(?:(?P<hours>-?\d+)H)?(?:(?P<minutes>-?\d+)M)?(?:(?P<seconds>-?\d+(?:\.\d{1,6})?)S)?)?"
)


def read_column(sql_type: TypeEngine[Any]) -> ColumnReading | None:
    """Say how values of this type are read, so that they are what a Session would load. None: they cannot be."""
    for kind, read in KINDS:
        if isinstance(sql_type, kind):
            return read(sql_type)
    if sql_type.__visit_name__ in NAMED:
        return NAMED[sql_type.__visit_name__]
    return read_plain(sql_type)


def read_plain(sql_type: TypeEngine[Any]) -> ColumnReading | None:
    """Go by the Python type."""
    wanted = sql_type.python_type
    if wanted is bool:
        return ColumnReading(bool | int, read_bool)
    if wanted is str and isinstance(sql_type, Uuid):
        return ColumnReading(UUID, str)
    if wanted is float and not isinstance(sql_type, Float):
        return ColumnReading(Decimal, float)  # Numeric(asdecimal=False), whose JSON is a string
    return ColumnReading(wanted) if wanted in NATIVE else None


def read_decorated(sql_type: TypeDecorator[Any]) -> ColumnReading | None:
    """Read what is below and let the application's type process it. One with a way of its own (pickle) is not read."""
    below = read_column(sql_type.impl_instance)
    own = type(sql_type)
    if below is None or own.result_processor is not TypeDecorator.result_processor:
        return None
    if own.process_result_value is TypeDecorator.process_result_value:
        return below
    inner = below.convert

    def convert(value: Any) -> object:
        if inner is not None and (value is not None or below.converts_null):
            value = inner(value)
        return sql_type.process_result_value(value, DIALECT)

    return ColumnReading(below.annotation, convert, converts_null=True)


def read_enum(sql_type: Enum) -> ColumnReading:
    """Look a label up as SQLAlchemy does: by the member's name, or by what values_callable says."""
    look_up = sql_type.result_processor(DIALECT, None)  # type: ignore[no-untyped-call]

    def convert(value: str) -> object:
        try:
            return look_up(value) if look_up else value
        except LookupError as error:
            raise msgspec.ValidationError("Invalid enum value") from error

    return ColumnReading(str, convert)


def read_array(sql_type: ARRAY[Any]) -> ColumnReading | None:
    """Read the elements, at whatever depth."""
    element = read_column(sql_type.item_type)
    if element is None:
        return None
    annotation, inner, make = element.annotation, element.convert, tuple if sql_type.as_tuple else list

    def convert(value: Any) -> object:
        if isinstance(value, list):
            return make(convert(item) for item in value)
        if value is not None:
            value = msgspec.convert(value, annotation)
        return inner(value) if inner and (value is not None or element.converts_null) else value

    return ColumnReading(list[Any], convert)


def read_bool(value: int) -> bool:
    """Take 0 and 1, which MySQL has for booleans."""
    if value in (0, 1):
        return bool(value)
    raise msgspec.ValidationError("Expected `bool`, got `int`")


def read_duration(value: str) -> timedelta:
    """Read an ISO 8601 duration whose parts may be negative; months and years are of no fixed length."""
    found = DURATION.fullmatch(value)
    if found is None:
        raise msgspec.ValidationError("Invalid ISO8601 duration without years and months")
    parts = {unit: Decimal(number) for unit, number in found.groupdict().items() if number}
    try:
        microseconds = int(parts.pop("seconds", Decimal(0)) * 1_000_000)
        return timedelta(microseconds=microseconds, **{unit: int(number) for unit, number in parts.items()})
    except OverflowError as error:
        raise msgspec.ValidationError("Duration is out of range") from error


def read_inet(value: str) -> object:
    """Make of inet what psycopg makes of it."""
    return ip_interface(value) if "/" in value else ip_address(value)


KINDS: tuple[tuple[Any, Callable[[Any], ColumnReading | None]], ...] = (
    (Interval, lambda _: ColumnReading(str, read_duration)),
    (TypeDecorator, read_decorated),
    (Enum, read_enum),
    (JSON, lambda _: ColumnReading(Any)),
    (ARRAY, read_array),
    (DOMAIN, lambda domain: read_column(domain.data_type)),
)

TEXT = ColumnReading(str)
NAMED: dict[str, ColumnReading | None] = {
    "INTERVAL": ColumnReading(str, read_duration),
    "INET": ColumnReading(str, read_inet),
    "CIDR": ColumnReading(str, ip_network),
    "OID": ColumnReading(int),
    "YEAR": ColumnReading(int),
    "SET": None,
    **dict.fromkeys(("MACADDR", "MACADDR8", "MONEY", "TSVECTOR", "TSQUERY", "REGCLASS", "JSONPATH"), TEXT),
}
"""Types of one database that have no Python type of their own."""
