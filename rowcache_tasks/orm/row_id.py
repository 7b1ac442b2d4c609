"""Row ids of key values as an application has them.

They equal those of a scan of the table; docs/json.md, "Row ids", has the forms.
"""

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from sqlalchemy import CHAR, Dialect, Numeric, Uuid
from sqlalchemy.types import TypeEngine

EXACT = Context(prec=2000, rounding=ROUND_HALF_UP)


def value_writer(column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], str]:
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
            return _write_uuid(stored)
        if scale is not None:
            return _write_decimal(stored, scale)
        text = _write_plain(stored)
        return text.rstrip(" ") if padded else text

    return write


def _write_plain(value: Any) -> str:
    """Write a value for the driver; an enumeration of texts or numbers by its value."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__repr__(value)
    return format(value, "f") if isinstance(value, Decimal) else str(value)


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
