"""Row ids of key values as an application has them.

They equal those of a scan of the table; docs/json.md, "Row ids", has the forms.
"""

from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from sqlalchemy import CHAR, ColumnElement, Dialect, Numeric, Uuid
from sqlalchemy.types import TypeEngine

from rowcache_tasks.schedule.row_id import join_row_id

__all__ = ["RowIdWriter"]

EXACT = Context(prec=2000, rounding=ROUND_HALF_UP)


class RowIdWriter:
    """Writer of the values of some columns as a row id. Thread-safe."""

    def __init__(self, columns: Sequence[ColumnElement[Any]]) -> None:
        self._columns = columns
        self._writers: dict[tuple[str, str], list[Callable[[Any], str]]] = {}

    def write(self, values: Sequence[Any], dialect: Dialect) -> str | None:
        """Return the row id, empty for an empty text; None when a value is NULL."""
        if any(value is None for value in values):
            return None
        name = (dialect.name, dialect.driver)
        writers = self._writers.get(name)
        if writers is None:
            writers = self._writers[name] = [writer(column.type, dialect) for column in self._columns]
        return join_row_id([write(value) for write, value in zip(writers, values, strict=True)])


def writer(column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], str]:
    """Make the function that converts a value as for the driver, and then to text."""
    process = column_type.dialect_impl(dialect).bind_processor(dialect)
    plain = getattr(column_type, "impl_instance", column_type)  # the database type of a TypeDecorator
    scale = plain.scale if isinstance(plain, Numeric) else None
    padded = isinstance(plain, CHAR) and dialect.name != "sqlite"
    # Stored as text, a UUID stays as it was spelled.
    is_uuid = isinstance(plain, Uuid) and plain.native_uuid and dialect.supports_native_uuid

    def write(value: Any) -> str:
        stored = value if process is None else process(value)
        if is_uuid:
            return write_uuid(stored)
        if scale is not None:
            return write_decimal(stored, scale)
        text = write_plain(stored)
        return text.rstrip(" ") if padded else text

    return write


def write_plain(value: Any) -> str:
    """Write a value for the driver; an enumeration of texts or numbers by its value."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__repr__(value)
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def write_uuid(value: Any) -> str:
    """Write a UUID in lower case with hyphens, however it is spelled."""
    text = str(value)
    try:
        return str(UUID(text))
    except ValueError:  # left to the database
        return text


def write_decimal(value: Any, scale: int) -> str:
    """Write a number with the digits after the point that its column has."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:  # left to the database
        return str(value)
    return format(number.quantize(Decimal((0, (1,), -scale)), context=EXACT) if number.is_finite() else number, "f")
