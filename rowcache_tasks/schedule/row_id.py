"""Row ids: text of keys, bytes in Redis, and one key told from many."""

from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, MutableSequence, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Protocol, TypeGuard, TypeVar
from uuid import UUID

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten

Value = str | int | UUID | date | Decimal | bytes
"""Key of one column; also a bool, an int to Python, and a datetime, a date to Python."""
Key = Value | tuple[Value, ...]
MAX_DIGITS = 3000
PLAIN_INT = 2**63

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Collected(Protocol[T_co]):
    """Collection for type checkers: `in` takes any object, unlike that of a text, which is thereby refused."""

    def __iter__(self) -> Iterator[T_co]: ...

    def __contains__(self, item: object, /) -> bool: ...


Many = Collected[T] | Iterator[T]  # any iterable but a text


def row_id(*key: Key) -> str:
    """Write a key, one value or those of several columns, as the text that stands in Redis.

    row_id(42) is "42", and row_id(7, "x,y") is "7,x%2Cy".

    docs/json.md has the form of each type. Raises ArgumentError.
    """
    return key_text(key[0] if len(key) == 1 else key)


def key_text(key: object) -> str:
    """Return the text of one key, a value or a tuple of them. Raises ArgumentError."""
    if type(key) is str and key and key.isascii():  # as nearly all
        return key
    if type(key) is int and -PLAIN_INT < key < PLAIN_INT:
        return str(key)
    text = join_row_id([_value_text(part, key) for part in key]) if _is_columns(key) else _value_text(key, key)
    if not text:
        raise _refusal(key)
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ArgumentError(f"row id is {shorten(key)}: it has a lone surrogate, which is no character") from error
    return text


def key_texts(keys: list[Any]) -> list[str]:
    """Return the texts of keys: all at once if they are plain, as nearly always. Raises ArgumentError."""
    kinds = set(map(type, keys))
    if kinds == {str} and all(keys) and "".join(keys).isascii():
        return keys
    if kinds == {int} and max(keys) < PLAIN_INT > -min(keys):
        return list(map(str, keys))
    return list(map(key_text, keys))


def texts_of(row_ids: "Many[T]") -> tuple[list[T], list[str]]:
    """Return the keys asked and their texts. Raises ArgumentError, also for equal keys with different texts."""
    keys: list[Any] = key_list(row_ids)
    texts = key_texts(keys)
    if texts is not keys and len(set(keys)) < len(keys):
        text_of = dict(zip(keys, texts, strict=True))
        if [text_of[key] for key in keys] != texts:  # 1 and True, 1.5 and 1.50
            raise ArgumentError(
                "row_ids has keys that are equal in Python, and different row ids: ask one after the other"
            )
    return keys, texts


def key_list(keys: object) -> list[object]:
    """Return the keys of an iterable. Raises ArgumentError, also for one key alone."""
    if type(keys) is list:
        return [*keys]
    if is_key(keys):
        kind = f"this {type(keys).__name__} is one key"
        if _is_columns(keys):
            kind += f" of {len(keys)} columns, and [{', '.join(map(shorten, keys))}] are {len(keys)} keys"
        raise ArgumentError(f"row_ids is {shorten(keys)}: {kind}: write [{shorten(keys)}] for this row")
    if isinstance(keys, bytearray | memoryview) or not isinstance(keys, Iterable):
        raise ArgumentError(f"row_ids is {shorten(keys)}: allowed is a list or another iterable of keys: [42, 43]")
    return list(keys)


def is_key(value: object) -> bool:
    """Whether a value has the type of one key, of one column or of several."""
    return isinstance(value, str | bytes | int | UUID | date | Decimal) or _is_columns(value)


def datetime_text(value: datetime) -> str:
    """Write a time in ISO 8601 without zeros at the end of the fraction; one with a time zone in UTC, with a Z.

    Raises OverflowError for a year that is not 1 to 9999 in UTC.
    """
    zone = ""
    if value.tzinfo is not None:
        value, zone = value.astimezone(UTC).replace(tzinfo=None), "Z"
    text = datetime.isoformat(value)
    return (text.rstrip("0") if "." in text else text) + zone


def bytes_text(value: bytes) -> str:
    """Write bytes in base64, as in the JSON of a row."""
    return b64encode(value).decode()


def _is_columns(value: object) -> TypeGuard[Sequence[object]]:
    """Whether a value is the key of several columns: a tuple, or a row of SQLAlchemy."""
    return isinstance(value, tuple) or (
        isinstance(value, Sequence) and not isinstance(value, str | bytes | range | memoryview | MutableSequence)
    )


def _decimal_text(value: Decimal) -> str:
    if not (value.is_finite() and -MAX_DIGITS < value.adjusted() < MAX_DIGITS):
        raise ValueError("no digits, or too many")
    return format(value, "f")


WRITERS: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (str, str.__str__),
    (bool, lambda value: str(value).lower()),
    (int, int.__repr__),
    (bytes, bytes_text),
    (UUID, str),
    (Decimal, _decimal_text),
    (datetime, datetime_text),
    (date, date.isoformat),
)


def _value_text(value: object, key: object) -> str:
    """Return the text of a value of one column."""
    write = next((write for kind, write in WRITERS if isinstance(value, kind)), None)
    if write is not None:
        with suppress(ValueError, OverflowError):
            return write(value)
    raise _refusal(key)


def _refusal(key: object) -> ArgumentError:
    remedy = "a tuple of these for several columns"
    if isinstance(key, list):
        remedy += f"; in a message, where a tuple becomes a list, row_id({', '.join(map(shorten, key))})"
    return ArgumentError(
        f"row id is {shorten(key)}: allowed are a non-empty text, int, UUID, date, datetime, Decimal, bytes, bool, and "
        + remedy
    )


def encode_row_id(row_id: str) -> bytes:
    """Turn a row id into its bytes in Redis: UTF-8, with the escapes of decode_row_id undone."""
    return row_id.encode("utf-8", "surrogateescape")


def decode_row_id(member: bytes) -> str:
    """Turn a ZSET member into a row id; bytes that are not UTF-8 survive as lone surrogates (PEP 383)."""
    return member.decode("utf-8", "surrogateescape")


def join_row_id(parts: Sequence[str]) -> str:
    """Write the texts of key columns as a row id: one as it is, several joined by commas.

    Within several parts, a comma is written %2C and a percent sign %25, so that the form is reversible:
    ("7", "a,b") <-> "7,a%2Cb".
    """
    if len(parts) == 1:
        return parts[0]
    return ",".join(part.replace("%", "%25").replace(",", "%2C") for part in parts)


def split_row_id(row_id: str, count: int) -> tuple[str, ...]:
    """Read a row id back into the texts of its `count` key columns. The inverse of join_row_id.

    Raises ArgumentError when the number of parts is another one.
    """
    if count == 1:
        return (row_id,)
    parts = row_id.split(",")
    if len(parts) != count:
        raise ArgumentError(
            f"row id {row_id[:100]!r} has {len(parts)} part(s), the key has {count} columns: "
            "write it as part,part,… with %2C for a comma and %25 for a percent sign"
        )
    return tuple(part.replace("%2C", ",").replace("%25", "%") for part in parts)


def encode_keys(prefix: str, row_ids: Collection[str]) -> list[bytes]:
    """Name the keys of values of one part."""
    names = prefix + f"\0{prefix}".join(row_ids)
    keys = names.encode("utf-8", "surrogateescape").split(b"\0")  # all at once: a fifth of the time
    return keys if len(keys) == len(row_ids) else [encode_row_id(prefix + row_id) for row_id in row_ids]
