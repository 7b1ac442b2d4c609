"""Own how a cached value becomes a row of the type that the reader asked for: RowDecoder.

Must not know Redis, and must not import SQL or Celery: mapped_row.py does, for a class that SQLAlchemy maps.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, cast, get_origin, overload

import msgspec
from msgspec import inspect

from rowcache_tasks.errors import ArgumentError, RowTypeError
from rowcache_tasks.reader.types.mismatch import describe_kind, describe_mismatch
from rowcache_tasks.text import shorten

__all__ = ["RowDecoder"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

OBJECTS = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType)
ALLOWED = "allowed are dict, a TypedDict, a dataclass, a msgspec.Struct and a class that SQLAlchemy maps"


class RowDecoder(Generic[T]):
    """Turns the cached values of one table into rows of one type; without a type, into dictionaries.

    The fields of a type are the columns that the reader wants: others are ignored, a field without a default that the
    row does not have is an error. docs/json.md says which annotation fits which column. A mapped class gives detached
    instances, for Session.merge(load=False). Thread-safe.

    Raises ArgumentError for a type that no row can have.
    """

    @overload
    def __init__(self: "RowDecoder[dict[str, Any]]", table: str, type: None = None) -> None: ...

    @overload
    def __init__(self, table: str, type: type[T]) -> None: ...

    def __init__(self, table: str, type: type[T] | None = None) -> None:  # noqa: A002 - as RowCache calls it
        wanted: Any = dict[str, Any] if type is None or type is dict else type
        self._table = table
        self._type_name = shorten(wanted) if get_origin(wanted) else getattr(wanted, "__name__", shorten(wanted))
        self._is_plain = wanted == dict[str, Any]
        self._columns: Callable[[], Sequence[str]]
        self._decode: Callable[[bytes | str], T]
        if hasattr(wanted, "__mapper__"):
            # Late: whoever has a mapped class has imported SQLAlchemy.
            from rowcache_tasks.reader.types.mapped_row import MappedRow  # noqa: PLC0415

            mapped = MappedRow(wanted)
            self._columns, self._decode = mapped.columns, mapped.decode
        else:
            columns = check_type(wanted, self._type_name)
            self._columns = lambda: columns
            self._decode = msgspec.json.Decoder(wanted).decode

    def decode(self, row_id: object, value: bytes | str) -> T | None:
        """Return the row; None, with one line in the log, when the value is no JSON object.

        Only a foreign client can have written such a value. Raises RowTypeError for an object that does not fit.
        """
        try:
            return self._decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return self._decode_otherwise(row_id, value, error)

    def decode_all(self, values: Sequence[bytes | str | None]) -> list[T | None] | None:
        """Return the rows, None for None; nothing at all when `decode` has something to say about one of them."""
        decode = self._decode
        try:
            return [None if value is None else decode(value) for value in values]
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None

    def _decode_otherwise(self, row_id: object, value: bytes | str, error: Exception) -> T | None:
        """Sort out what msgspec does not read. The slow path."""
        try:
            text = value if isinstance(value, str) else value.decode()
            row = json.loads(text, parse_constant=refuse)
            if not isinstance(row, dict):
                raise ValueError(f"the value is no JSON object but {describe_kind(row)}")
        except (ValueError, RecursionError) as problem:
            words = "it is nested too deeply" if isinstance(problem, RecursionError) else problem
            logger.warning("row %s of %s counts as not cached: %s", shorten(row_id), self._table, words)
            return None
        if self._is_plain:
            return cast("T", row)  # a json column may hold "\ud800", which is JSON, but no text to msgspec
        reason = describe_mismatch(error, row, self._columns(), self._decode)
        raise RowTypeError(
            f"row {shorten(row_id)} of {self._table} does not fit {self._type_name}: {reason}; "
            "docs/json.md says which annotation fits which column",
            self._table,
            row_id,
        ) from error


def check_type(wanted: Any, name: str) -> tuple[str, ...]:
    """Return the columns that a type names, none for a dictionary. Raises ArgumentError when no row can be of it."""
    try:
        info = inspect.type_info(wanted)
    except (TypeError, NameError, AttributeError) as error:
        words = str(error).partition(" - type")[0]
        raise ArgumentError(f"type {name} cannot be read from JSON: {words}; {ALLOWED}") from error
    if isinstance(info, inspect.DictType) and isinstance(info.key_type, inspect.AnyType | inspect.StrType):
        return ()
    if not isinstance(info, OBJECTS) or getattr(info, "array_like", False):
        raise ArgumentError(f"type is {name}, which is no type of a row: {ALLOWED}")
    for field in info.fields:
        for unknown in plain_classes(field.type):
            raise ArgumentError(f"type {name}: {field.name} is a {unknown}, which cannot be read from JSON")
    return tuple(field.encode_name for field in info.fields)


def plain_classes(info: inspect.Type) -> Iterator[str]:
    """Name what msgspec knows nothing of, so that no value would ever fit."""
    if isinstance(info, inspect.CustomType):
        yield getattr(info.cls, "__name__", shorten(info.cls))
    elif isinstance(info, inspect.UnionType):
        for member in info.types:
            yield from plain_classes(member)
    elif isinstance(info, inspect.CollectionType):
        yield from plain_classes(info.item_type)


def refuse(constant: str) -> None:
    """Refuse what Python's json takes for numbers and JSON does not: NaN, Infinity, -Infinity."""
    raise ValueError(f"{constant} is no JSON")
