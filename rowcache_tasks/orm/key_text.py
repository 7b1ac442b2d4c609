"""Own the text of a key column's value as an application has it: the same that the database shows to the workers.

Must not know mapped classes. The forms are those of docs/json.md, "Row ids".
"""

from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from sqlalchemy import CHAR, ColumnElement, Dialect, Numeric, Uuid
from sqlalchemy.types import TypeEngine

from rowcache_tasks.keys import join_row_id

__all__ = ["KeyText"]

EXACT = Context(prec=2000, rounding=ROUND_HALF_UP)


class KeyText:
    """Writes the values of some columns as a row id. Thread-safe."""

    def __init__(self, columns: Sequence[ColumnElement[Any]]) -> None:
        self._columns = columns
        self._writers: dict[tuple[str, str], list[Callable[[Any], str]]] = {}

    def write(self, values: Sequence[Any], dialect: Dialect) -> str | None:
        """Give the row id; None when a value is NULL: such a row has none."""
        if any(value is None for value in values):
            return None
        name = (dialect.name, dialect.driver)
        writers = self._writers.get(name)
        if writers is None:
            writers = self._writers[name] = [writer(column.type, dialect) for column in self._columns]
        return join_row_id([write(value) for write, value in zip(writers, values, strict=True)])


def writer(column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], str]:
    """Make the function that writes values of a column: first as they go to the driver, then as text."""
    process = column_type.dialect_impl(dialect).bind_processor(dialect)
    plain = getattr(column_type, "impl_instance", column_type)  # of a TypeDecorator, the type in the database
    scale = plain.scale if isinstance(plain, Numeric) else None
    padded = isinstance(plain, CHAR) and dialect.name != "sqlite"
    # Where it is kept as text, it stays as it was spelled.
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
    """Write what goes to the driver; texts and numbers of a subclass, as of an enumeration, as what they are."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__repr__(value)
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def write_uuid(value: Any) -> str:
    """Write a UUID in lower case with hyphens, however the application spells it."""
    text = str(value)
    try:
        return str(UUID(text))
    except ValueError:  # the database knows better what it is
        return text


def write_decimal(value: Any, scale: int) -> str:
    """Write a number with as many digits after the point as its column has."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:  # the database knows better what it is
        return str(value)
    return format(number.quantize(Decimal((0, (1,), -scale)), context=EXACT) if number.is_finite() else number, "f")
