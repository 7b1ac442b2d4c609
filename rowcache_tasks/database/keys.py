"""Own the text form of a key column's values: the part of a row id that stands for one column.

Must not know SQL or a database; the dialects say which column is of which key type. Several texts may stand for
one value ("42" and "042"); `write` gives the one that a scan of the table uses.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from operator import itemgetter
from typing import Any
from uuid import UUID

from rowcache_tasks.keys import join_row_id, split_row_id

MAX_DIGITS = 100
DECIMAL_NUMBER = re.compile(r"-?[0-9]{1,1000}(\.[0-9]{1,1000})?")
HYPHENATED_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
PLAIN_UUID = re.compile(HYPHENATED_UUID.pattern.replace("A-F", ""))
ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class KeyType:
    """How one key column is written in a row id."""

    parse: Callable[[str], Hashable]
    """Text -> the value bound to the query; raises ValueError that says what is wrong with the text."""
    read: Callable[[Any], Hashable] | None = None
    """The driver's value -> what parse gives for it; None: they are equal already."""
    write: Callable[[Any], str] = str
    """The driver's value -> its text."""
    parse_plain: Callable[[Sequence[str]], Sequence[Hashable] | None] = field(default=lambda _texts: None)
    """Many texts -> their values, at a fraction of the price, when each text is as `write` writes it; else None."""


class RowKey:
    """The key of one table: row ids <-> values. A key of one column is a bare value, of several a tuple."""

    def __init__(self, types: Sequence[KeyType]) -> None:
        self._types = tuple(types)
        self.width = len(self._types)
        """How many columns it has."""
        self.parse: Callable[[str], Any] = types[0].parse if len(types) == 1 else self._parse_parts
        """Row id -> key; raises ValueError that says what is wrong with it."""

    def _parse_parts(self, row_id: str) -> tuple[Hashable, ...]:
        key = []
        parts = split_row_id(row_id, len(self._types))
        for number, (key_type, part) in enumerate(zip(self._types, parts, strict=True), 1):
            try:
                key.append(key_type.parse(part))
            except ValueError as error:
                raise ValueError(f"part {number}: {error}") from error
        return tuple(key)

    def parse_plain(self, row_ids: Sequence[str]) -> dict[Any, str] | None:
        """Give key -> row id when no two row ids are alike and each is the text that `write` uses; else None.

        That is what a batch usually is, and it saves looking at each row id.
        """
        if not row_ids:
            return {}
        columns: Sequence[Sequence[str]] = [row_ids]
        if self.width > 1:
            parts = [row_id.split(",") for row_id in row_ids]
            if "%" in "".join(row_ids) or any(len(row) != self.width for row in parts):
                return None
            columns = list(zip(*parts, strict=True))
        values = [key_type.parse_plain(column) or () for key_type, column in zip(self._types, columns, strict=True)]
        keys: Iterable[Any] = values[0] if self.width == 1 else zip(*values, strict=False)
        found = dict(zip(keys, row_ids, strict=False))  # of no key when one column's texts are not all plain
        return found if len(found) == len(row_ids) else None

    def aliases(self, row_ids: Sequence[str]) -> dict[str, str]:
        """Give the row ids that are another text for a key ("042"), with the text that `write` uses ("42").

        Texts that only the database calls equal are not among them, nor is what is no key.
        """
        found: dict[str, str] = {}
        if self.parse_plain(row_ids) is not None:
            return found
        for row_id in row_ids:
            with suppress(ValueError):
                key = self.parse(row_id)
                text = self.write(key if self.width > 1 else (key,))
                if text != row_id:
                    found[row_id] = text
        return found

    def reader(self, positions: Sequence[int]) -> Callable[[Sequence[Any]], Any]:
        """Make the function that takes the key out of a row of driver values."""
        take: Callable[[Sequence[Any]], Any] = itemgetter(*positions)
        reads = [key_type.read for key_type in self._types]
        if not any(reads):
            return take
        if len(reads) == 1:
            return lambda row: _apply(reads[0], take(row))
        return lambda row: tuple(_apply(read, value) for read, value in zip(reads, take(row), strict=True))

    def write(self, values: Sequence[Any]) -> str:
        """Write the driver's values of the key columns, none of them NULL, as a row id."""
        return join_row_id([t.write(v) for t, v in zip(self._types, values, strict=True)])


def _apply(read: Callable[[Any], Hashable] | None, value: Any) -> Any:
    return value if read is None or value is None else read(value)


def integer(low: int, high: int) -> KeyType:
    """Whole numbers in ASCII digits, leading zeros allowed; another text or one out of range is an error."""

    def parse(text: str) -> int:
        digits = text[1:] if text[:1] == "-" else text
        # isdigit knows other scripts' digits too; Python refuses to read thousands of digits.
        if not (digits.isdigit() and digits.isascii() and len(digits) <= MAX_DIGITS):
            raise ValueError("it is not a whole number in plain digits")
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"it is out of the column's range {low} to {high}")
        return value

    def parse_plain(texts: Sequence[str]) -> list[int] | None:
        try:
            values = list(map(int, texts))
        except ValueError:
            return None
        # int() takes "042", " 42", "4_2" and other scripts' digits, too; none of them is what str() gives back.
        is_plain = list(map(str, values)) == list(texts)
        return values if is_plain and (not values or low <= min(values) <= max(values) <= high) else None

    return KeyType(parse, parse_plain=parse_plain)


def text(*, nul: bool = True, padded: bool = False) -> KeyType:
    """Any Unicode text. `nul`: NUL may occur; `padded`: trailing blanks do not count, as in PostgreSQL's CHAR(n)."""

    def parse(text: str) -> str:
        if not nul and "\0" in text:
            raise ValueError("it holds a NUL character, which the database cannot store")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError("it is not valid Unicode text") from error
        return text.rstrip(" ") if padded else text

    def parse_plain(texts: Sequence[str]) -> Sequence[str] | None:
        try:
            parse("".join(texts))
        except ValueError:
            return None
        return texts

    return KeyType(parse, trim, trim) if padded else KeyType(parse, parse_plain=parse_plain)


def trim(value: str) -> str:
    """Cut the padding."""
    return value.rstrip(" ")


def parse_uuid(text: str) -> str:
    """Lower-case canonical form of a hyphenated UUID."""
    if not HYPHENATED_UUID.fullmatch(text):
        raise ValueError("it is not a hyphenated UUID")
    return str(UUID(text))


def parse_plain_uuids(texts: Sequence[str]) -> Sequence[str] | None:
    """Take UUIDs that are all in their lower-case canonical form."""
    return texts if all(map(PLAIN_UUID.fullmatch, texts)) else None


def parse_date(text: str) -> str:
    """Check YYYY-MM-DD."""
    if not ISO_DATE.fullmatch(text):
        raise ValueError("it is not a date written YYYY-MM-DD")
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise ValueError("it is not a day of the calendar") from error


def parse_decimal(text: str) -> Decimal:
    """Exact decimal number in plain digits; 1.5 and 1.50 are equal."""
    if not DECIMAL_NUMBER.fullmatch(text):
        raise ValueError("it is not a decimal number in plain digits")
    return Decimal(text)


UUID_KEY = KeyType(parse_uuid, str.lower, parse_plain=parse_plain_uuids)
DATE_KEY = KeyType(parse_date)
DECIMAL_KEY = KeyType(parse_decimal, Decimal)
