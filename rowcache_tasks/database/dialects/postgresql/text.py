"""Types of PostgreSQL that are read as text, and their JSON form."""

import re
from collections.abc import Callable, Mapping
from datetime import time
from ipaddress import ip_interface, ip_network

from rowcache_tasks.database import key_type
from rowcache_tasks.database.encoding import Converter, embedded, finite
from rowcache_tasks.database.key_type import INFINITE, KeyType

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


CONVERTERS: Mapping[str, Converter] = {
    "float4": finite,
    "float8": finite,
    "json": embedded,
    "jsonb": embedded,
    "date": _iso_date,
    "timestamp": _iso_timestamp,
    "timestamptz": _utc_timestamp,
    "interval": _iso_interval,
    "timetz": lambda value: value if value[-3] == ":" else f"{value}:00",  # 19:39:19+02 -> 19:39:19+02:00
}

MAC = re.compile(r"[0-9a-f]{2}([:.-]?[0-9a-f]{2}){5}(([:.-]?[0-9a-f]{2}){2})?", re.IGNORECASE)
TIME = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?")


def _inet(text: str) -> str:
    network = ip_interface(text)
    address = str(network).removesuffix(f"/{network.max_prefixlen}")
    return _embedded_ipv4(address, network.packed)


def _cidr(text: str) -> str:
    network = ip_network(text)
    return _embedded_ipv4(str(network), network.network_address.packed)


def _embedded_ipv4(written: str, packed: bytes) -> str:
    """Write ::102:304 as ::1.2.3.4, as PostgreSQL does."""
    start = {bytes(12): "::", bytes(10) + b"\xff\xff": "::ffff:"}.get(packed[:-4])
    if start is None or (start == "::" and packed[-4:-2] == bytes(2)):
        return written
    _, slash, length = written.partition("/")
    return f"{start}{'.'.join(map(str, packed[-4:]))}{slash}{length}"


def _mac(text: str) -> str:
    if not MAC.fullmatch(text):
        raise ValueError
    return bytes.fromhex(re.sub("[:.-]", "", text)).hex(":")


def _mac8(text: str) -> str:
    """Extend one of 6 bytes, as PostgreSQL does."""
    mac = _mac(text)
    return mac if len(mac) == 23 else f"{mac[:8]}:ff:fe{mac[8:]}"


def _mac6(text: str) -> str:
    mac = _mac(text)
    if len(mac) != 17:
        raise ValueError
    return mac


def _time(text: str) -> str:
    if text == "24:00:00":
        return text
    if not TIME.fullmatch(text):
        raise ValueError
    written = time.fromisoformat(text).isoformat()
    return written.rstrip("0") if "." in written else written


def _canonical_key(canonical: Callable[[str], str], noun: str) -> KeyType:
    """Texts of which `canonical` returns PostgreSQL's form; one that it cannot read is refused without a query."""

    def parse(text: str) -> str:
        try:
            if text.isascii() and "%" not in text:
                return canonical(text)
        except ValueError:
            pass
        raise ValueError(f"it is not {noun}")

    return KeyType(parse)


TEXT_KEY = key_type.text_key(nul=False)
KEY_TYPES = {
    "int2": key_type.integer_key(-(2**15), 2**15 - 1),
    "int4": key_type.integer_key(-(2**31), 2**31 - 1),
    "int8": key_type.integer_key(-(2**63), 2**63 - 1),
    "oid": key_type.integer_key(0, 2**32 - 1),
    "numeric": key_type.DECIMAL_KEY,
    "text": TEXT_KEY,
    "varchar": TEXT_KEY,
    "name": TEXT_KEY,
    "bpchar": key_type.text_key(nul=False, padded=True),
    "uuid": key_type.UUID_KEY,
    "date": key_type.or_infinite(key_type.DATE_KEY),
    "timestamp": key_type.or_infinite(key_type.moment_key(is_utc=False)),
    "timestamptz": key_type.or_infinite(key_type.moment_key(is_utc=True)),
    "bool": key_type.BOOLEAN_KEY,
    "bytea": key_type.bytes_key(),
    "inet": _canonical_key(_inet, "an IP address like 10.0.0.1 or 10.0.0.1/8"),
    "cidr": _canonical_key(_cidr, "a network like 10.0.0.0/8, with no bits set to the right of its length"),
    "macaddr": _canonical_key(_mac6, "a MAC address like 08:00:2b:01:02:03"),
    "macaddr8": _canonical_key(_mac8, "a MAC address like 08:00:2b:ff:fe:01:02:03"),
    "time": _canonical_key(_time, "a time written hh:mm:ss"),
}
