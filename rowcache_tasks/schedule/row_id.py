"""Row ids as bytes in Redis, and of several key columns in one text."""

from collections.abc import Sequence

from rowcache_tasks.errors import ArgumentError


def encode_row_id(row_id: str) -> bytes:
    """Turn a row id into its bytes in Redis: UTF-8, with the escapes of decode_row_id undone."""
    return row_id.encode("utf-8", "surrogateescape")


def decode_row_id(member: bytes) -> str:
    """Turn a ZSET member into a row id; bytes that are not UTF-8 survive as lone surrogates (PEP 383)."""
    return member.decode("utf-8", "surrogateescape")


def join_row_id(parts: Sequence[str]) -> str:
    """Write a key as a row id: one part as it is, several joined by commas.

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
