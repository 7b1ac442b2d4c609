"""A claim, its message form, and the outcomes of its rows as counts."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from operator import add
from typing import Any, Self, TypeVar

from rowcache_tasks.config.settings import MAX_BATCH_SIZE
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.keys import MAX_PARTITIONS, NAMESPACE, RESERVED_NAMESPACES
from rowcache_tasks.schedule.arguments import TIME, are_members

MESSAGE_FIELDS = ("claimed_at", "epoch", "late_ms", "lease_until", "namespace")
EPOCH = re.compile(r"[0-9]{1,15}")
MAX_LATE_MS = 10**15
MAX_SHARED = 4
"""Batches in one message, which one process refreshes one after the other: it delays so many by a lease if it dies."""
MAX_CLAIMS = 2 * MAX_PARTITIONS  # claims in one message, each of a part of the table


@dataclass(frozen=True, slots=True)
class Claim:
    """Rows that are ours until the lease ends. Times are texts exactly as Redis gave them, Unix seconds."""

    claimed_at: str
    lease_until: str
    row_ids: list[str]
    epoch: str = "0"  # steps back of the clock of Redis so far; a commit in another epoch is refused
    late_ms: int = 0  # time from the earliest due time of the batch to the claim: the greatest lateness of its rows
    namespace: str = ""  # Table.place: a worker without the table in its settings can release the rows by it
    behind: int = 0  # batches that no worker had started yet when it was claimed; a million when that is not known
    unproven: int = 0  # rows of the batch that were never refreshed, or that fail
    go_on_at: str = ""  # due time at which the next look for proven rows goes on; "" after the last due row
    commit_by: float = math.inf  # time of Redis after which a value that was read is refused
    read_ms: int = 0  # from the beginning of the read to its commit, as far as measured; milliseconds
    slow_ms: int = 0  # duration of the read, if it was slow; milliseconds
    task_id: str = ""  # id of the task of the message, which is in its note; of its first claim. "": any

    def to_message(self) -> dict[str, Any]:
        """Return the part of a message beside the row ids: the argument `claim` of the task refresh_row."""
        return {name: getattr(self, name) for name in MESSAGE_FIELDS}

    @classmethod
    def from_message(cls, row_ids: object, message: object) -> "Claim":
        """Read the row ids and the claim of a message. Raises ArgumentError for all that to_message does not make.

        Row ids are the members that a foreign client has put into the schedule: of any length, and with the escapes of
        bytes that are not UTF-8.
        """
        if not isinstance(row_ids, list | tuple) or len(row_ids) > MAX_BATCH_SIZE or not are_members(row_ids):
            raise ArgumentError(f"row_ids is {shorten(row_ids)}: with a claim it must be up to {MAX_BATCH_SIZE} texts")
        if not isinstance(message, Mapping) or set(message) != set(MESSAGE_FIELDS):
            raise ArgumentError(f"claim is {shorten(message)}: it must have {', '.join(MESSAGE_FIELDS)}")
        for name in ("claimed_at", "lease_until"):
            time = message[name]
            if not isinstance(time, str) or not TIME.fullmatch(time):
                raise ArgumentError(f"claim[{name!r}] is {shorten(time)}: it must be a time as the scripts write it")
        epoch, late_ms = message["epoch"], message["late_ms"]
        if not isinstance(epoch, str) or not EPOCH.fullmatch(epoch):
            raise ArgumentError(f"claim['epoch'] is {shorten(epoch)}: it must be a number as the scripts write it")
        if isinstance(late_ms, bool) or not isinstance(late_ms, int) or not 0 <= late_ms <= MAX_LATE_MS:
            raise ArgumentError(f"claim['late_ms'] is {shorten(late_ms)}: it must be a number of milliseconds")
        namespace = message["namespace"]
        if not isinstance(namespace, str) or not NAMESPACE.fullmatch(namespace) or namespace in RESERVED_NAMESPACES:
            raise ArgumentError(f"claim['namespace'] is {shorten(namespace)}: it must be the namespace of a table")
        return cls(message["claimed_at"], message["lease_until"], list(row_ids), epoch, late_ms, namespace)


def to_messages(claims: Sequence[Claim]) -> tuple[list[str], dict[str, Any]]:
    """Return the row ids and the keyword arguments of the task refresh_row for some claims of a table."""
    first, *others = claims
    more = {"more": [[claim.row_ids, claim.to_message()] for claim in others]} if others else {}
    return first.row_ids, {"claim": first.to_message(), **more}


def from_messages(row_ids: object, message: object, more: object) -> list[Claim]:
    """Read the claims of a message. Raises ArgumentError for all that to_messages does not make."""
    if not isinstance(more, list | tuple) or len(more) >= MAX_CLAIMS or not all(map(is_pair, more)):
        raise ArgumentError(f"more is {shorten(more)}: it must be up to {MAX_CLAIMS - 1} pairs of row ids and claim")
    claims = [Claim.from_message(*each) for each in ((row_ids, message), *more)]
    if (rows := sum(len(claim.row_ids) for claim in claims)) > MAX_SHARED * MAX_BATCH_SIZE:
        raise ArgumentError(f"a message has {rows:,} rows: allowed are {MAX_SHARED * MAX_BATCH_SIZE:,}")
    return claims


def is_pair(value: object) -> bool:
    """Return whether a part of a message is a list of two."""
    return isinstance(value, list | tuple) and len(value) == 2


class Counts:
    """Numbers of rows; the sum of two adds field by field."""

    __slots__ = ()

    def __add__(self, other: Self) -> Self:
        """Return the sum."""
        return type(self)(*map(add, astuple(self), astuple(other)))  # type: ignore[call-overload]


@dataclass(frozen=True, slots=True)
class Committed(Counts):
    """Outcomes of a commit, as counts of rows."""

    refreshed: int = 0  # the value was written
    unchanged: int = 0  # the cache held the same value already
    superseded: int = 0  # not written: another refresh was committed since the claim, so this value may be older
    dropped: int = 0  # not written: the row was unscheduled since the claim


@dataclass(frozen=True, slots=True)
class Missed(Counts):
    """Outcomes of rows that the database does not have, as counts; dropped ones count as missing too."""

    missing: int = 0
    superseded: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Released(Counts):
    """Outcomes of rows that failed, as counts."""

    released: int = 0
    superseded: int = 0  # rescheduled or claimed by another client since


@dataclass(frozen=True, slots=True)
class Changed(Counts):
    """Outcomes of a schedule change, as counts of rows."""

    applied: int = 0
    ignored: int = 0  # a change enqueued later was applied before
    kept: int = 0  # scheduled already, when only new rows were meant

    def as_result(self) -> dict[str, int]:
        """Return the result of a task."""
        return {"applied": self.applied, "ignored": self.ignored}


C = TypeVar("C", bound=Counts)


def sum_of(kind: type[C], replies: Iterable[Sequence[int]]) -> C:
    """Return the sum of the replies of a script. Raises the first error among them."""
    total = kind()
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
        total += kind(*reply)
    return total
