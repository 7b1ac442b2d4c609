"""Conversion of JSON values to those of a mapped column."""

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
class ColumnConversion:
    """How the values of one column are read."""

    annotation: Any  # the type that msgspec decodes, apart from NULL
    convert: Convert | None = None
    """Converts that to the attribute's value; raises msgspec.ValidationError with the reason."""
    converts_null: bool = False


DIALECT = DefaultDialect()  # for types that need one; a reader has no dialect of a database

NATIVE = frozenset({int, str, bytes, float, Decimal, date, datetime, time, UUID})
"""Python types of columns that msgspec reads as a Session would."""

DURATION = re.compile(
    r"P(?=.)(?:(?P<days>-?\d+)D)?"
    r"(?:T(?=.)(?:(?P<hours>-?\d+)H)?(?:(?P<minutes>-?\d+)M)?(?:(?P<seconds>-?\d+(?:\.\d{1,6})?)S)?)?"
)


def find_conversion(sql_type: TypeEngine[Any]) -> ColumnConversion | None:
    """Return the conversion to the values that a Session would load; None when there is none."""
    for kind, read in KINDS:
        if isinstance(sql_type, kind):
            return read(sql_type)
    if sql_type.__visit_name__ in NAMED:
        return NAMED[sql_type.__visit_name__]
    return read_plain(sql_type)


def read_plain(sql_type: TypeEngine[Any]) -> ColumnConversion | None:
    """Choose by the Python type."""
    try:
        wanted = sql_type.python_type
    except NotImplementedError:  # SQLAlchemy 2.0; 2.1: object
        return None
    if wanted is bool:
        return ColumnConversion(bool | int, read_bool)
    if wanted is str and isinstance(sql_type, Uuid):
        return ColumnConversion(UUID, str)
    if wanted is float and not isinstance(sql_type, Float):
        return ColumnConversion(Decimal, float)  # Numeric(asdecimal=False), whose JSON is a string
    return ColumnConversion(wanted) if wanted in NATIVE else None


def read_decorated(sql_type: TypeDecorator[Any]) -> ColumnConversion | None:
    """Read the underlying type, then apply the application's. A type with its own result processor is not read."""
    below = find_conversion(sql_type.impl_instance)
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

    return ColumnConversion(below.annotation, convert, converts_null=True)


def read_enum(sql_type: Enum) -> ColumnConversion:
    """Look a label up as SQLAlchemy does: by the member's name, or with values_callable."""
    look_up = sql_type.result_processor(DIALECT, None)  # type: ignore[no-untyped-call]

    def convert(value: str) -> object:
        try:
            return look_up(value) if look_up else value
        except LookupError as error:
            raise msgspec.ValidationError("Invalid enum value") from error

    return ColumnConversion(str, convert)


def read_array(sql_type: ARRAY[Any]) -> ColumnConversion | None:
    """Read the elements, at any depth."""
    element = find_conversion(sql_type.item_type)
    if element is None:
        return None
    annotation, inner, make = element.annotation, element.convert, tuple if sql_type.as_tuple else list

    def convert(value: Any) -> object:
        if isinstance(value, list):
            return make(convert(item) for item in value)
        if value is not None:
            value = msgspec.convert(value, annotation)
        return inner(value) if inner and (value is not None or element.converts_null) else value

    return ColumnConversion(list[Any], convert)


def read_bool(value: int) -> bool:
    """Accept 0 and 1, the booleans of MySQL."""
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
    """Convert an inet as psycopg does."""
    return ip_interface(value) if "/" in value else ip_address(value)


KINDS: tuple[tuple[Any, Callable[[Any], ColumnConversion | None]], ...] = (
    (Interval, lambda _: ColumnConversion(str, read_duration)),
    (TypeDecorator, read_decorated),
    (Enum, read_enum),
    (JSON, lambda _: ColumnConversion(Any)),
    (ARRAY, read_array),
    (DOMAIN, lambda domain: find_conversion(domain.data_type)),
)

TEXT = ColumnConversion(str)
NAMED: dict[str, ColumnConversion | None] = {
    "INTERVAL": ColumnConversion(str, read_duration),
    "INET": ColumnConversion(str, read_inet),
    "CIDR": ColumnConversion(str, ip_network),
    "OID": ColumnConversion(int),
    "YEAR": ColumnConversion(int),
    "SET": None,
    **dict.fromkeys(("MACADDR", "MACADDR8", "MONEY", "TSVECTOR", "TSQUERY", "REGCLASS", "JSONPATH"), TEXT),
}
"""Types of one database without a Python type."""
