"""Types of key columns: their values to text and back."""

import re
from base64 import b64decode
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from rowcache_tasks.schedule.row_id import bytes_text, datetime_text

MAX_DIGITS = 100
DECIMAL_NUMBER = re.compile(r"-?[0-9]{1,1000}(\.[0-9]{1,1000})?")
HYPHENATED_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
CANONICAL_UUID = re.compile(HYPHENATED_UUID.pattern.replace("A-F", ""))
ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
ISO_TIME = re.compile(
    ISO_DATE.pattern + r"([T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
INFINITE = ("infinity", "-infinity")
BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def as_it_is(value: Any) -> Any:
    """Return the value."""
    return value


@dataclass(frozen=True, slots=True)
class KeyType:
    """Text form of one type of key column."""

    parse: Callable[[str], Hashable]  # text -> value for the statement; raises ValueError with the reason
    read: Callable[[Any], Hashable] = as_it_is  # the driver's value -> the value that `parse` returns
    write: Callable[[Any], str] = str  # the value that `parse` returns -> canonical text
    parse_canonical: Callable[[Sequence[str]], Sequence[Hashable] | None] = field(default=lambda _texts: None)
    """Texts -> values, many times faster than one by one; None unless each text is known to be canonical."""


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

    return (
        KeyType(parse, lambda value: value.rstrip(" ")) if padded else KeyType(parse, parse_canonical=parse_canonical)
    )


def _parse_uuid(text: str) -> str:
    if not HYPHENATED_UUID.fullmatch(text):
        raise ValueError("it is not a hyphenated UUID")
    return str(UUID(text))


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


def _parse_boolean(text: str) -> bool:
    if text not in BOOLEANS:
        raise ValueError("it is neither true nor false")
    return BOOLEANS[text]


def bytes_key(width: int = 0) -> KeyType:
    """Binary values in base64. `width`: of a column that is padded with zero bytes."""

    def parse(text: str) -> bytes:
        try:
            return b64decode(text, validate=True).ljust(width, b"\0")
        except ValueError as error:
            raise ValueError("it is not base64: pass bytes; of a UUID, its `bytes`") from error

    return KeyType(parse, write=lambda value: bytes_text(value) if isinstance(value, bytes) else str(value))


def parse_moment(text: str) -> datetime:
    """Read a date and time in ISO 8601; raises ValueError."""
    try:
        if ISO_TIME.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError("it is not a date and time written YYYY-MM-DDThh:mm:ss")


def moment_key(*, is_utc: bool) -> KeyType:
    """Date and time in ISO 8601. `is_utc`: moments, where a text without a zone is in UTC; else a zone is refused."""

    def parse(text: str) -> str:
        value = parse_moment(text)
        if value.tzinfo is not None:
            if not is_utc:
                raise ValueError("it has a time zone, and the column has none: leave it out")
            try:
                value = value.astimezone(UTC).replace(tzinfo=None)
            except OverflowError as error:
                raise ValueError("its year in UTC is not 1 to 9999") from error
        return datetime_text(value).replace("T", " ")

    def read(stored: str) -> str:
        stored = stored.removesuffix("+00")
        return stored.rstrip("0").rstrip(".") if "." in stored else stored

    def write(value: str) -> str:
        return value if value in INFINITE else value.replace(" ", "T", 1) + ("Z" if is_utc else "")

    return KeyType(parse, read, write)


def or_infinite(kind: KeyType) -> KeyType:
    """Add the infinite dates of PostgreSQL."""
    return replace(kind, parse=lambda text: text if text in INFINITE else kind.parse(text))


UUID_KEY = KeyType(
    _parse_uuid,
    str.lower,  # hyphenated, canonical in lower case
    parse_canonical=lambda texts: texts if all(map(CANONICAL_UUID.fullmatch, texts)) else None,
)
DATE_KEY = KeyType(_parse_date)
DECIMAL_KEY = KeyType(_parse_decimal, Decimal, lambda value: format(value, "f"))  # 1.5 and 1.50 are equal
BOOLEAN_KEY = KeyType(_parse_boolean, write=lambda value: {0: "false", 1: "true"}.get(value) or str(value))
