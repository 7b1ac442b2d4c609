"""Types of PostgreSQL that are read as text, and their JSON form.

Types have their names in pg_type: timestamptz, bpchar.
"""

from collections.abc import Mapping

from rowcache_tasks.database.encoding import Converter, embedded, finite
from rowcache_tasks.database.key_type import (
    BOOLEAN_KEY,
    DATE_KEY,
    DECIMAL_KEY,
    INFINITE,
    UUID_KEY,
    bytes_key,
    integer_key,
    moment_key,
    or_infinite,
    text_key,
)

# Types whose loaders in psycopg are exact, and in C; every other type is read as text.
NATIVE = {"bool", "int2", "int4", "int8", "oid", "float4", "float8", "bytea"}

# Element types of the arrays that psycopg can load; arrays of others are read as text[].
ELEMENTS = NATIVE | {
    *("text", "varchar", "bpchar", "name", "char", "numeric", "uuid", "json", "jsonb", "inet", "cidr"),
    *("date", "time", "timetz", "timestamp", "timestamptz", "interval"),
}


def _iso_date(value: str) -> str:
    if (len(value) == 10 and value[4] == "-") or value in INFINITE:
        return value
    raise ValueError("the date is outside the years 1 to 9999")


def _iso_timestamp(value: str) -> str:
    """2026-11-22 19:39:19.5 -> 2026-11-22T19:39:19.5."""
    if value[10:11] == " " and value[4] == "-" and value[-1] != "C":
        return f"{value[:10]}T{value[11:]}"
    if value in INFINITE:
        return value
    raise ValueError("the timestamp is outside the years 1 to 9999")


def _utc_timestamp(value: str) -> str:
    """2026-11-22 19:39:19.5+00 -> 2026-11-22T19:39:19.5Z, RFC 3339."""
    if value[10:11] == " " and value[-3:] == "+00":
        return f"{value[:10]}T{value[11:-3]}Z"
    if value in INFINITE:
        return value
    # Another offset: the session of a connection pooler lacks our settings.
    raise ValueError("the timestamp is outside the years 1 to 9999, or the session's TimeZone is not UTC")


def _iso_interval(value: str) -> str:
    if value[:1] == "P" or value in INFINITE:
        return value
    raise ValueError("the interval is not in ISO 8601: the session's IntervalStyle is not iso_8601")


def _offset_time(value: str) -> str:
    """19:39:19+02 -> 19:39:19+02:00, as in RFC 3339."""
    return value if value[-3] == ":" else f"{value}:00"


CONVERTERS: Mapping[str, Converter] = {
    "float4": finite,
    "float8": finite,
    "json": embedded,
    "jsonb": embedded,
    "date": _iso_date,
    "timestamp": _iso_timestamp,
    "timestamptz": _utc_timestamp,
    "interval": _iso_interval,
    "timetz": _offset_time,
}

TEXT_KEY = text_key(nul=False)
KEY_TYPES = {
    "int2": integer_key(-(2**15), 2**15 - 1),
    "int4": integer_key(-(2**31), 2**31 - 1),
    "int8": integer_key(-(2**63), 2**63 - 1),
    "oid": integer_key(0, 2**32 - 1),
    "numeric": DECIMAL_KEY,
    "text": TEXT_KEY,
    "varchar": TEXT_KEY,
    "name": TEXT_KEY,
    "bpchar": text_key(nul=False, padded=True),
    "uuid": UUID_KEY,
    "date": or_infinite(DATE_KEY),
    "timestamp": or_infinite(moment_key(is_utc=False)),
    "timestamptz": or_infinite(moment_key(is_utc=True)),
    "bool": BOOLEAN_KEY,
    "bytea": bytes_key(),
    **dict.fromkeys(("inet", "cidr", "macaddr", "macaddr8", "time"), TEXT_KEY),
}
