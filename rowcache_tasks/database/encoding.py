"""JSON form of a row: column values in, one UTF-8 JSON object out."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from rowcache_tasks.errors import EncodingError

Converter = Callable[[Any], object]
"""Converts one driver value, never NULL, for msgspec; raises ValueError with the reason."""

encode_json = msgspec.json.Encoder().encode
decode_json = msgspec.json.Decoder().decode
MAX_DEPTH = 700
"""Levels of nesting. Python 3.11 decodes 1000 with those of the caller; later versions, as of a worker, decode more."""
STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
BRACKET = re.compile(r"[\[\]{}]")
FAILURES = (ValueError, TypeError, NotImplementedError, OverflowError, RecursionError)


class RowEncoder:
    """Encoder of the rows of one table."""

    def __init__(self, columns: Mapping[str, Converter | None]) -> None:
        """`columns`: name -> converter (None: none), in the order of the values and of the JSON members."""
        self._columns = dict(columns)
        self._converters = [(i, convert) for i, convert in enumerate(columns.values()) if convert]
        self._pack = _packer(list(columns))

    def encode(self, row: Sequence[object]) -> bytes:
        """Return the row as one JSON object. Raises EncodingError, which names the column and the reason."""
        try:
            return self._encode_columns({"": row})[""]
        except FAILURES as error:
            raise EncodingError(self._reason(row)) from error

    def encode_all(self, rows: Mapping[str, Sequence[object]]) -> tuple[dict[str, bytes], dict[str, str]]:
        """Encode rows: row id -> JSON, and row id -> reason for each row that has none."""
        with suppress(*FAILURES):
            return self._encode_columns(rows), {}
        values: dict[str, bytes] = {}
        errors: dict[str, str] = {}
        for row_id, row in rows.items():
            try:
                values[row_id] = self.encode(row)
            except EncodingError as error:
                errors[row_id] = str(error)
        return values, errors

    def _encode_columns(self, rows: Mapping[str, Sequence[object]]) -> dict[str, bytes]:
        """Convert column by column: half the price of row by row. Raises one of FAILURES for any bad row."""
        if not rows:
            return {}
        columns: list[Sequence[object]] = list(zip(*rows.values(), strict=True))
        for i, convert in self._converters:
            columns[i] = [None if value is None else convert(value) for value in columns[i]]
        return dict(zip(rows, map(encode_json, map(self._pack, *columns)), strict=True))

    def _reason(self, row: Sequence[object]) -> str:
        for (name, convert), value in zip(self._columns.items(), row, strict=False):
            try:
                encode_json(convert(value) if convert and value is not None else value)
            except FAILURES as error:
                return f"column {name[:63]!r}: {_describe(error)}"
        return f"the row of {len(row)} values does not fit {len(self._columns)} columns"


def _packer(names: Sequence[str]) -> Callable[..., object]:
    """Make the function that packs values: into a struct, encoded fast, or a dict for names that JSON escapes."""
    # str() of a str subclass such as SQLAlchemy's quoted_name could be another one; join never is.
    plain = ["".join(name) for name in names]
    fields = [f"column_{i}" for i in range(len(plain))]
    try:
        return msgspec.defstruct("Row", fields, rename=dict(zip(fields, plain, strict=True)), gc=False)
    except ValueError:
        return lambda *values: dict(zip(plain, values, strict=True))


def _describe(error: Exception) -> str:
    """Return in one line, without the value, why it has no JSON form."""
    if isinstance(error, UnicodeError):
        return "the text is not valid Unicode"
    if isinstance(error, RecursionError):
        return "the value is nested too deeply"
    return str(error).partition("\n")[0][:120]


def finite(value: float) -> float:
    """Refuse NaN and infinity, which msgspec would write as null."""
    if math.isfinite(value):
        return value
    raise ValueError(f"{value} has no JSON form: store NULL, use a numeric type or leave the column out")


def embedded(value: str | bytes) -> msgspec.Raw:
    """Embed JSON text; refuse what no reader can decode, such as lone surrogates; 1 us for 150 bytes."""
    text = value if isinstance(value, str) else value.decode()
    try:
        decode_json(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"the text is not JSON that every reader can decode: {error}") from error
    if text.count("[") + text.count("{") > MAX_DEPTH and depth_of(text) > MAX_DEPTH:
        raise RecursionError
    return msgspec.Raw(text)


def depth_of(text: str) -> int:
    """Return the levels of nesting of a JSON text."""
    depth = deepest = 0
    for bracket in BRACKET.findall(STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def each(convert: Converter) -> Converter:
    """Lift a converter to lists of any depth, whose NULL elements stay."""

    def convert_list(value: Any) -> object:
        if type(value) is list:
            return [None if item is None else convert_list(item) for item in value]
        return convert(value)

    return convert_list


def plain(value: Any) -> object:
    """Convert by the Python type alone, for databases without a dialect here; msgspec converts all other types."""
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, str):
        return "".join(value)  # msgspec refuses a subclass
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return {str(key): plain(item) for key, item in value.items()} if isinstance(value, dict) else value
