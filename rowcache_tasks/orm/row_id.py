"""Row ids of key values as an application has them."""

from collections.abc import Callable
from contextlib import suppress
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from sqlalchemy import BINARY, CHAR, TIMESTAMP, Boolean, DateTime, Dialect, Numeric, Time, Uuid
from sqlalchemy.types import TypeEngine

from rowcache_tasks.database.dialects.postgresql.text import KEY_TYPES
from rowcache_tasks.database.dialects.sqlite import read_moment
from rowcache_tasks.database.key_type import BOOLEAN_KEY, KeyType
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.schedule.row_id import bytes_text, key_text

EXACT = Context(prec=2000, rounding=ROUND_HALF_UP)


def value_writer(column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], str]:
    """Make the function that converts a value as for the driver, and then to text."""
    process = column_type.dialect_impl(dialect).bind_processor(dialect)
    chosen = column_type._variant_mapping.get(dialect.name, column_type)  # of with_variant()
    plain = getattr(chosen, "impl_instance", chosen)  # the database type of a TypeDecorator
    scale = plain.scale if isinstance(plain, Numeric) else None
    padded = isinstance(plain, CHAR) and dialect.name != "sqlite"
    # Stored as text, a UUID stays as it was spelled.
    is_uuid = isinstance(plain, Uuid) and plain.native_uuid and dialect.supports_native_uuid
    is_boolean = isinstance(plain, Boolean) and dialect.name == "sqlite"
    is_moment = isinstance(plain, DateTime) and dialect.name == "sqlite"
    zone = "Z" if isinstance(plain, TIMESTAMP) and dialect.name in ("mysql", "mariadb") else ""
    canonical = _canonical_type(plain) if dialect.name == "postgresql" else None
    width = plain.length or 0 if isinstance(plain, BINARY) else 0

    def write(value: Any) -> str:
        stored = value if process is None else process(value)
        if is_uuid:
            return _write_uuid(stored)
        if scale is not None:
            return _write_decimal(stored, scale)
        if is_boolean:
            return BOOLEAN_KEY.write(stored)
        if is_moment:
            return str(read_moment(stored))
        if width:
            return bytes_text(_bytes_of(stored).ljust(width, b"\0"))
        text = _write_plain(stored, canonical)
        return text.rstrip(" ") if padded else text.removesuffix(zone) + zone

    return write


def _canonical_type(column_type: Any) -> KeyType | None:
    """Return the type of PostgreSQL that has several texts of one value. A naive datetime counts as UTC."""
    if isinstance(column_type, DateTime):
        return KEY_TYPES["timestamptz" if column_type.timezone else "timestamp"]
    if isinstance(column_type, Time):
        return None if column_type.timezone else KEY_TYPES["time"]
    name = column_type.__visit_name__
    return KEY_TYPES[name.lower()] if name in ("INET", "CIDR", "MACADDR", "MACADDR8") else None


def _write_plain(value: Any, kind: KeyType | None) -> str:
    """Write a value for the driver, as `kind` does if there is one; one that no row has is left to the database."""
    try:
        text = key_text(_bytes_of(value))
    except ArgumentError:
        text = str(value)
    with suppress(ValueError):
        return kind.write(kind.parse(text)) if kind else text
    return text


def _bytes_of(value: Any) -> Any:
    """Return the bytes in a driver's wrapper of binary values, such as psycopg's Binary; others as they are."""
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return getattr(value, "obj", getattr(value, "adapted", value))


def _write_uuid(value: Any) -> str:
    text = str(value)
    try:
        return str(UUID(text))
    except ValueError:  # left to the database
        return text


def _write_decimal(value: Any, scale: int) -> str:
    try:
        number = Decimal(str(value))
    except InvalidOperation:  # left to the database
        return str(value)
    return format(number.quantize(Decimal((0, (1,), -scale)), context=EXACT) if number.is_finite() else number, "f")
