"""Keys of rows, and their text form: the row id.

Several texts may stand for one value ("42" and "042"); `write` returns the canonical one, as in a scan of the table.
"""

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from operator import itemgetter
from typing import Any
from uuid import UUID

from rowcache_tasks.schedule.row_id import join_row_id, split_row_id
from rowcache_tasks.text import MAX_TEXT, one_line, shorten

MAX_DIGITS = 100
DECIMAL_NUMBER = re.compile(r"-?[0-9]{1,1000}(\.[0-9]{1,1000})?")
HYPHENATED_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
CANONICAL_UUID = re.compile(HYPHENATED_UUID.pattern.replace("A-F", ""))
ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class KeyType:
    """Text form of one type of key column."""

    parse: Callable[[str], Hashable]
    """Text -> value for the statement; raises ValueError with the reason."""
    read: Callable[[Any], Hashable] = _as_it_is
    """The driver's value -> the value that `parse` returns."""
    write: Callable[[Any], str] = str
    """The driver's value -> canonical text."""
    parse_canonical: Callable[[Sequence[str]], Sequence[Hashable] | None] = field(default=lambda _texts: None)
    """Texts -> values, many times faster than one by one; None unless each text is known to be canonical."""


class RowKey:
    """Key of a table: row ids to values and back. A key of one column is a bare value, of several a tuple."""

    def __init__(self, types: Sequence[KeyType]) -> None:
        self._types = tuple(types)
        self.width = len(self._types)
        """Number of columns."""

    def parse(self, row_id: str) -> Any:
        """Return the key of a row id; raises ValueError with the reason when it has none."""
        if not row_id:
            raise ValueError("it is empty")
        if self.width == 1:
            return self._types[0].parse(row_id)
        key = []
        for number, part in enumerate(split_row_id(row_id, self.width)):
            try:
                key.append(self._types[number].parse(part))
            except ValueError as error:
                raise ValueError(f"part {number + 1}: {error}") from error
        return tuple(key)

    def parse_all(self, row_ids: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return row id -> key, and row id -> reason, one line, for each that has none."""
        canonical = self.parse_canonical(row_ids)
        keys = dict(zip(row_ids, canonical or (), strict=False))
        if canonical is not None and "" not in keys:
            return keys, {}
        keys = {}
        errors: dict[str, str] = {}
        for row_id in row_ids:
            try:
                keys[row_id] = self.parse(row_id)
            except ValueError as error:
                errors[row_id] = one_line(f"row id {shorten(row_id)}: {error}", MAX_TEXT)
        return keys, errors

    def parse_canonical(self, row_ids: Sequence[str]) -> Sequence[Any] | None:
        """Return the keys of a usual batch, column by column; None unless each row id is known to be canonical.

        An empty text, which is no row id, counts as canonical text.
        """
        if not row_ids:
            return []
        if self.width == 1:
            return self._types[0].parse_canonical(row_ids)
        parts = [row_id.split(",") for row_id in row_ids]
        if "%" in "".join(row_ids) or any(len(row) != self.width for row in parts):
            return None
        columns = [
            kind.parse_canonical(texts) for kind, texts in zip(self._types, zip(*parts, strict=True), strict=True)
        ]
        return None if None in columns else list(zip(*columns, strict=True))

    def aliases(self, row_ids: Sequence[str]) -> dict[str, str]:
        """Return the row ids that are another text for a key ("042"), each with the canonical one ("42").

        Row ids without a key are left out, and so are texts that only the database calls equal.
        """
        keys, _ = self.parse_all(row_ids)
        texts = {row_id: self.write(key if self.width > 1 else (key,)) for row_id, key in keys.items()}
        return {row_id: text for row_id, text in texts.items() if text != row_id}

    def getter(self, positions: Sequence[int]) -> Callable[[Sequence[Any]], Any]:
        """Make the function that returns the key of a row of driver values."""
        take: Callable[[Sequence[Any]], Any] = itemgetter(*positions)
        reads = [kind.read for kind in self._types]
        if all(read is _as_it_is for read in reads):
            return take
        if len(reads) == 1:
            return lambda row: reads[0](take(row))
        return lambda row: tuple(read(value) for read, value in zip(reads, take(row), strict=True))

    def write(self, values: Sequence[Any]) -> str:
        """Return the canonical row id of driver values, none of them NULL; empty for a key that has none."""
        return join_row_id([kind.write(value) for kind, value in zip(self._types, values, strict=True)])


def integer_key(low: int, high: int) -> KeyType:
    """Whole numbers in ASCII digits, leading zeros allowed, from `low` to `high`."""

    def parse(text: str) -> int:
        digits = text[1:] if text[:1] == "-" else text
        # isdigit() accepts the digits of other scripts; int() refuses thousands of digits.
        if not (digits.isdigit() and digits.isascii() and len(digits) <= MAX_DIGITS):
            raise ValueError("it is not a whole number in plain digits")
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"it is out of the column's range {low} to {high}")
        return value

    def parse_canonical(texts: Sequence[str]) -> list[int] | None:
        try:
            values = list(map(int, texts))
        except ValueError:
            return None
        # int() also accepts "042", " 42", "4_2" and the digits of other scripts; str() returns none of them.
        is_canonical = list(map(str, values)) == list(texts)
        return values if is_canonical and low <= min(values) <= max(values) <= high else None

    return KeyType(parse, parse_canonical=parse_canonical)


def text_key(*, nul: bool = True, padded: bool = False) -> KeyType:
    """Any Unicode text. `nul`: NUL may occur; `padded`: trailing blanks do not count, as in PostgreSQL's CHAR(n)."""

    def parse(text: str) -> str:
        if not nul and "\0" in text:
            raise ValueError("it holds a NUL character, which the database cannot store")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError("it is not valid Unicode text") from error
        return text.rstrip(" ") if padded else text

    def parse_canonical(texts: Sequence[str]) -> Sequence[str] | None:
        try:
            parse("".join(texts))
        except ValueError:
            return None
        return texts

    def trim(value: str) -> str:
        return value.rstrip(" ")

    return KeyType(parse, trim, trim) if padded else KeyType(parse, parse_canonical=parse_canonical)


def _parse_uuid(text: str) -> str:
    if not HYPHENATED_UUID.fullmatch(text):
        raise ValueError("it is not a hyphenated UUID")
    return str(UUID(text))


def _parse_canonical_uuids(texts: Sequence[str]) -> Sequence[str] | None:
    return texts if all(map(CANONICAL_UUID.fullmatch, texts)) else None


def _parse_date(text: str) -> str:
    if not ISO_DATE.fullmatch(text):
        raise ValueError("it is not a date written YYYY-MM-DD")
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise ValueError("it is not a day of the calendar") from error


def _parse_decimal(text: str) -> Decimal:
    if not DECIMAL_NUMBER.fullmatch(text):
        raise ValueError("it is not a decimal number in plain digits")
    return Decimal(text)


UUID_KEY = KeyType(_parse_uuid, str.lower, parse_canonical=_parse_canonical_uuids)
"""Hyphenated; canonical in lower case."""
DATE_KEY = KeyType(_parse_date)
DECIMAL_KEY = KeyType(_parse_decimal, Decimal)
"""Plain digits; 1.5 and 1.50 are equal."""
