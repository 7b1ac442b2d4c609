"""Decoder of cached values: JSON to a row of the reader's type."""

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, cast, get_origin

import msgspec
from msgspec import inspect

from rowcache_tasks.errors import ArgumentError, RowTypeError
from rowcache_tasks.errors.text import one_line, shorten

if TYPE_CHECKING:  # PEP 696; in the standard library from Python 3.13 on
    from typing_extensions import TypeVar

    Row = TypeVar("Row", default=dict[str, Any])
else:
    from typing import TypeVar

    Row = TypeVar("Row")


logger = logging.getLogger(__name__)

OBJECTS = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType)
ALLOWED = (
    "allowed are dict, a TypedDict, a dataclass, a msgspec.Struct, a Pydantic model and a class that SQLAlchemy maps"
)

DECODE_ERRORS = (msgspec.DecodeError, UnicodeError, RecursionError)  # errors of `decode_plain`

MAX_REASON = 200  # characters of msgspec's message, or of that of a type's own check

PATH = re.compile(r" - at `\$(.*)`\Z", re.DOTALL)
MISSING = re.compile(r"Object missing required field `(.*)`\Z", re.DOTALL)
UNKNOWN = re.compile(r"Object contains unknown field `(.*)`\Z", re.DOTALL)
SHOWN = frozenset({"infinity", "-infinity", "NaN", "Infinity", "-Infinity"})
"""Special values of dates and numbers: the only contents that a message may show."""
KINDS = ((bool, "a boolean"), (int, "an integer"), (float, "a number"), (list, "an array"), (dict, "an object"))


class RowDecoder(Generic[Row]):
    """Decodes the cached values of one table as rows of one type; without a type, as dictionaries.

    The fields of a type select the columns: others are ignored, and a field without a default must be in the row.
    docs/json.md lists the annotations for each kind of column. A mapped class gives detached instances, for
    Session.merge(load=False). Thread-safe.

    Raises ArgumentError for a type that no row can have.
    """

    def __init__(self, table: str, type: type[Row] | None = None) -> None:  # noqa: A002 - the reader's option
        wanted: Any = dict[str, Any] if type is None or type is dict else type
        self._table = table
        self._type_name = shorten(wanted) if get_origin(wanted) else getattr(wanted, "__name__", shorten(wanted))
        self._is_plain = wanted == dict[str, Any]
        self._columns: Callable[[], Sequence[str]]
        self.decode_plain: Callable[[bytes | str], Row]  # decodes as `decode`, or raises DECODE_ERRORS
        if hasattr(wanted, "__mapper__"):
            # Late: a process that has a mapped class has imported SQLAlchemy.
            from rowcache_tasks.reader.types.mapped_row import MappedRow  # noqa: PLC0415

            mapped = MappedRow(wanted)
            self._columns, self.decode_plain = mapped.columns, mapped.decode
            return
        if is_pydantic(wanted):
            columns, self.decode_plain = pydantic_decoder(wanted)
        else:
            columns, self.decode_plain = check_type(wanted, self._type_name), msgspec.json.Decoder(wanted).decode
        self._columns = lambda: columns

    def decode(self, row_id: object, value: bytes | str) -> Row | None:
        """Return the row; None, with one line in the log, for a value that is not a JSON object.

        Only another client can have written such a value. Raises RowTypeError for an object that does not fit.
        """
        try:
            return self.decode_plain(value)
        except DECODE_ERRORS as error:
            return self.decode_refused(row_id, value, error)

    def decode_all(self, values: Sequence[bytes | str | None]) -> list[Row | None] | None:
        """Return the rows, None for None; no list at all if one of the values needs `decode`."""
        decode = self.decode_plain
        try:
            return [None if value is None else decode(value) for value in values]
        except DECODE_ERRORS:
            return None

    def refuses(self, row_id: object, value: bytes | str | None) -> bool:
        """Return whether a value, but a BadRow, counts as not cached, which is logged."""
        with suppress(RowTypeError):
            return value is not None and type(value) in (bytes, str) and self.decode(row_id, value) is None
        return False

    def decode_refused(self, row_id: object, value: bytes | str, error: Exception) -> Row | None:
        """Handle a value that msgspec refuses."""
        try:
            text = value if isinstance(value, str) else value.decode()
            row = json.loads(text, parse_constant=refuse)
            if not isinstance(row, dict):
                raise ValueError(f"the value is no JSON object but {describe_kind(row)}")
        except (ValueError, RecursionError) as problem:
            reason = "it is nested too deeply" if isinstance(problem, RecursionError) else problem
            logger.warning("row %s of %s counts as not cached: %s", shorten(row_id), self._table, reason)
            return None
        if self._is_plain:
            return cast("Row", row)  # a json column may hold "\ud800": JSON, but not text to msgspec
        reason = describe_mismatch(error, row, self._columns(), self.decode_plain)
        raise RowTypeError(
            f"row {shorten(row_id)} of {self._table} does not fit {self._type_name}: {reason}; "
            "docs/json.md says which annotation fits which column",
            self._table,
            row_id,
        ) from error


def check_type(wanted: Any, name: str) -> tuple[str, ...]:
    """Return the columns of a type, none for a dictionary. Raises ArgumentError for a type that no row can have."""
    try:
        info = inspect.type_info(wanted)
    except (TypeError, NameError, AttributeError) as error:
        reason = one_line(str(error).partition(" - type")[0], MAX_REASON)
        raise ArgumentError(f"type {name} cannot be read from JSON: {reason}; {ALLOWED}") from error
    if isinstance(info, inspect.DictType) and isinstance(info.key_type, inspect.AnyType | inspect.StrType):
        return ()
    if not isinstance(info, OBJECTS) or getattr(info, "array_like", False):
        raise ArgumentError(f"type is {name}, which is no type of a row: {ALLOWED}")
    for field in info.fields:
        for unknown in custom_classes(field.type):
            raise ArgumentError(f"type {name}: {field.name} is a {unknown}, which cannot be read from JSON")
    return tuple(field.encode_name for field in info.fields)


def custom_classes(info: inspect.Type) -> Iterator[str]:
    """Name the classes that msgspec cannot decode."""
    if isinstance(info, inspect.CustomType):
        yield getattr(info.cls, "__name__", shorten(info.cls))
    elif isinstance(info, inspect.UnionType):
        for member in info.types:
            yield from custom_classes(member)
    elif isinstance(info, inspect.CollectionType):
        yield from custom_classes(info.item_type)


def refuse(constant: str) -> None:
    """Refuse the numbers of Python's json that are not JSON: NaN, Infinity, -Infinity."""
    raise ValueError(f"{constant} is no JSON")


def describe_mismatch(
    error: Exception, row: Mapping[str, Any], columns: Sequence[str], decode: Callable[[bytes], Any]
) -> str:
    """Name the wrong column and the reason in one line. `columns` are those of the type: none of a dictionary."""
    message = str(error)
    if missing := MISSING.match(message):
        return f"column {quote(missing[1])}: found none, and the field has no default"
    if unknown := UNKNOWN.match(message):
        return f"column {quote(unknown[1])}: found one, and the type has no such field"
    path = PATH.search(message)
    reason = " ".join(PATH.sub("", message).split())[:MAX_REASON]
    column = find_column(path[1] if path else "", row, columns, decode)
    if column is None:
        return reason
    if reason.startswith("Invalid enum value"):
        reason = "Invalid enum value"
    if "got `" not in reason:
        reason += f", found {describe_kind(row.get(column))}"
    return f"column {quote(column)}: {reason}"


def find_column(
    path: str, row: Mapping[str, Any], columns: Sequence[str], decode: Callable[[bytes], Any]
) -> str | None:
    """Take the column from msgspec's path, or try each column alone. None: no single column is wrong."""
    named = [name for name in columns if path.startswith((f".{name}.", f".{name}[")) or path == f".{name}"]
    if named:
        return max(named, key=len)
    for name, value in row.items():
        try:
            if columns:
                msgspec.json.decode(json.dumps(value))
            else:
                decode(json.dumps({name: value}).encode())
        except (ValueError, RecursionError):
            return name
    return None


def describe_kind(value: object) -> str:
    """Name the JSON kind of a value."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return f'"{value}"' if value in SHOWN else f"a string of {len(value)} characters"
    return next(name for kind, name in KINDS if isinstance(value, kind))


def quote(column: str) -> str:
    """Quote a column's name, which may be any text."""
    return ascii(column[:63])


def is_pydantic(wanted: Any) -> bool:
    """Whether a type is a model or a dataclass of Pydantic."""
    return hasattr(wanted, "__pydantic_validator__")


def pydantic_decoder(wanted: Any) -> tuple[tuple[str, ...], Callable[[bytes | str], Any]]:
    """Return the columns of a class of Pydantic, and its decoder, which raises msgspec's errors.

    Raises ArgumentError for a class that is not complete.
    """
    try:
        validate = wanted.__pydantic_validator__.validate_json
    except (RuntimeError, TypeError, NameError, AttributeError) as error:
        reason = " ".join(str(error).partition("\n")[0].split())
        raise ArgumentError(f"type {wanted.__name__} cannot be read from JSON: {reason}") from error

    def decode(value: bytes | str) -> Any:
        try:
            return validate(value)
        except ValueError as error:
            failure = _as_msgspec(error)
        raise failure  # outside of the except: the traceback of Pydantic's error shows values

    # In Pydantic 2.9, models have only model_fields, and dataclasses only the other.
    fields = wanted.__pydantic_fields__ if hasattr(wanted, "__pydantic_fields__") else wanted.model_fields
    return tuple(str(field.validation_alias or name) for name, field in fields.items()), decode


def _as_msgspec(error: Any) -> msgspec.ValidationError:
    """Word the first of Pydantic's errors as msgspec does; its message does not quote the value."""
    if not hasattr(error, "errors"):
        return msgspec.ValidationError(str(error))
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = "".join(f".{part}" if isinstance(part, str) else f"[{part}]" for part in found["loc"])
    if found["type"] == "missing" and len(found["loc"]) == 1:
        return msgspec.ValidationError(f"Object missing required field `{found['loc'][0]}`")
    return msgspec.ValidationError(f"{found['msg']} - at `${path}`")
