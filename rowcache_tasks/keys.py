"""Own every Redis key name, and the text forms of row ids.

Must not know Redis commands, SQL or configuration: only strings.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rowcache_tasks.errors import ArgumentError

RESERVED_NAMESPACES = frozenset(
    {"schedule", "delay", "inv", "refreshed", "changed", "failures", "wake", "stats", "beat", "queue", "fill"}
)
BROKER_PREFIXES = ("rowcache.", "celery", "unacked", "_kombu")
"""How keys of the broker begin, which may be on the same server: other rights go with them."""
NAMESPACE = re.compile(r"[A-Za-z0-9_.-]*")

BEAT_ENTRIES = "beat:"
"""HASH: name of a beat_schedule entry -> when it was last sent (Unix time, seconds)."""

QUEUED_BATCHES = "queue:"
"""ZSET: when a batch was claimed -> the same as its score, from its claim until a worker starts it or a later one.

Of all tables, since they share one queue at the broker.
"""


FILL_PREFIX = "fill:"
"""STRING at FILL_PREFIX + the key of a value; expires: who reads the row for readers that miss it, or its outcome."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one cached table. The empty namespace gives the keys of *Redis in Action*, section 2.4."""

    schedule: str
    """ZSET: row id -> when it is due (Unix time, seconds); while it is claimed, when the lease ends."""
    delay: str
    """ZSET: row id -> seconds between refreshes; <= 0 or absent: stop caching the row."""
    value_prefix: str
    """STRING at value_prefix + row id: the row as one JSON object."""
    refreshed: str
    """ZSET: row id -> when the last accepted commit was: the fence, and the age of the value.

    Of a row that has none yet, when it was first claimed: what was claimed before is from before a drop.
    """
    changed: str
    """ZSET: row id -> when the last applied schedule change was enqueued."""
    failures: str
    """HASH: row id -> consecutive failures and the last error, as JSON; absent when healthy."""
    wake: str
    """LIST: an entry wakes a sleeping dispatcher."""
    stats: str
    """HASH: counters."""

    @classmethod
    def of(cls, namespace: str) -> "Keys":
        """Name the keys of a namespace. The caller has validated it with NAMESPACE and RESERVED_NAMESPACES."""
        return cls(
            schedule=f"schedule:{namespace}",
            delay=f"delay:{namespace}",
            value_prefix=f"{namespace or 'inv'}:",
            refreshed=f"refreshed:{namespace}",
            changed=f"changed:{namespace}",
            failures=f"failures:{namespace}",
            wake=f"wake:{namespace}",
            stats=f"stats:{namespace}",
        )

    @property
    def queue(self) -> str:
        """Name the list of batches, of all tables."""
        return QUEUED_BATCHES

    @property
    def expiring(self) -> str:
        """Name the key that is there as long as a value may have an expiry."""
        return FILL_PREFIX + self.value_prefix

    def value(self, row_id: str) -> bytes:
        """Name the key that holds the JSON of a row."""
        return encode_row_id(self.value_prefix + row_id)


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
