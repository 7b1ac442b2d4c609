"""State of single rows in Redis: value, age, due time, last failure and the pause after it. Read only."""

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.row_id import decode_row_id, encode_row_id

AHEAD_S = 1.0  # a time further in the future is from before a step back of the clock of Redis, and is ignored
FIELDS = 7  # commands for each row
MAX_ERROR = 500  # characters of a recorded error
NOT_FOUND = "no such row in the database"  # error that miss_rows.lua records


@dataclass(frozen=True, slots=True)
class Backoff:
    """After n failures in a row the next try is min(max_s, base_s * 2^(n-1)) later, less up to half by chance."""

    base_s: float = 1.0
    max_s: float = 60.0
    lease_s: float = 30.0  # of rows that cannot be read as a whole, the longest pause; the longest lease

    def arguments(self) -> list[float]:
        """Return base, bound and a seed: the random numbers of a script are the same at each call."""
        return [self.base_s, self.max_s, random.getrandbits(31)]


@dataclass(frozen=True, slots=True)
class Failure:
    """Last failure of a row."""

    row_id: str
    failures: int
    error: str
    at: float  # Unix time, seconds


def read_failures(client: "redis.Redis", table: Table, limit: int) -> list[Failure]:
    """Read up to `limit` failing rows, in no order."""
    scans = (client.hscan_iter(part.keys.failures, count=1000) for part in table.parts)
    found: Any = islice(chain.from_iterable(scans), limit)
    return [parse_failure(decode_row_id(row_id), record) for row_id, record in found]


def parse_failure(row_id: str, record: bytes) -> Failure:
    """Parse a record; one of a foreign client is quoted as it is."""
    try:
        fields = json.loads(record)
        error = str(fields["error"])[:MAX_ERROR]
        at = float(fields["at"])
        return Failure(row_id, int(fields["failures"]), error, at if math.isfinite(at) else 0.0)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return Failure(row_id, 0, f"unreadable record: {record[:80]!r}", 0.0)


@dataclass(frozen=True, slots=True)
class RowState:
    """A row at one moment of the server's clock. Times are Unix seconds."""

    row_id: str
    at: float  # time of the reading
    value: bytes | None  # JSON of the row; None: not cached; b"": not read, or a key of another type
    expires_s: float | None  # seconds until the value expires; None: it does not
    refreshed: float | None  # time of the last accepted refresh, or of the last look that found no row
    due: float | None  # due time, or end of the lease; None: not in the schedule
    delay: float | None
    changed: float | None  # stamp of the last schedule change, for a day; None also before a step back of the clock
    failure: Failure | None

    @property
    def age(self) -> float | None:
        """Age of the value in seconds; None: not cached, or not known after a step back of the clock of Redis."""
        if self.value is None or self.refreshed is None or self.refreshed > self.at + AHEAD_S:
            return None
        return max(0.0, self.at - self.refreshed)

    @property
    def is_wanted(self) -> bool:
        """Whether the row is to be cached."""
        return self.delay is not None and self.delay > 0

    @property
    def due_in(self) -> float | None:
        """Seconds until the row is due or its lease ends; negative: overdue."""
        return None if self.due is None else self.due - self.at

    @property
    def is_value_gone(self) -> bool:
        """Whether a value was there since the last schedule change, is not there any more, and nobody refreshes it."""
        is_refreshed = self.refreshed is not None and (self.changed or 0) < self.refreshed <= self.at + AHEAD_S
        is_waiting = self.due is not None and self.due > self.at and not is_halved(self.due)
        return self.value is None and self.failure is None and is_refreshed and is_waiting

    @property
    def is_filled(self) -> bool:
        """Whether a reader has filled the row: without a delay, it is due, to be dropped, after its value expires."""
        return (
            not self.is_wanted and self.expires_s is not None and (self.due_in is None or self.due_in > self.expires_s)
        )

    def is_claimed(self, lease_s: float) -> bool:
        """Whether the due time of the row is the end of a lease."""
        if self.due is None or self.failure is not None or not self.at < self.due <= self.at + lease_s:
            return False
        return is_halved(self.due) and self.due >= (self.changed or 0)


def is_halved(time: float) -> bool:
    """Whether a time is in the middle of a microsecond, as the end of a lease is, and no due time of a script."""
    if not math.isfinite(time):
        return False
    microseconds = Fraction(time) * 10**6
    return abs(microseconds - round(microseconds)) > Fraction(1, 4)


def finite(number: float | None) -> float | None:
    """Return a number for JSON: None for an infinite one, which a foreign client may write."""
    return number if number is not None and math.isfinite(number) else None


def read_row_states(
    client: "redis.Redis", table: Table, row_ids: Sequence[str], *, with_values: bool = True
) -> list[RowState]:
    """Read up to some hundred rows atomically, of a table with partitions part after part; one round trip each."""
    if table.growing_from:  # the old places first, so that a row that moves meanwhile is found
        old = read_row_states(client, table.old, row_ids, with_values=with_values)
        new = read_row_states(client, replace(table, growing_from=0), row_ids, with_values=with_values)
        return [
            there if here.due is None and here.delay is None else here for there, here in zip(old, new, strict=True)
        ]
    if table.partitions > 1:
        parts = table.divide(row_ids)
        states = [read_row_states(client, part, some, with_values=with_values) for part, some in parts]
        by_id = {state.row_id: state for some in states for state in some}
        return [by_id[row_id] for row_id in row_ids]
    keys, found = table.keys, client.pipeline(transaction=True)
    found.time()
    for row_id in row_ids:
        member = encode_row_id(row_id)
        (found.get if with_values else found.exists)(keys.value(row_id))
        found.pttl(keys.value(row_id))
        for key in (keys.refreshed, keys.schedule, keys.delay, keys.changed):
            found.zscore(key, member)
        found.hget(keys.failures, member)
    (seconds, microseconds), *replies = found.execute(raise_on_error=False)
    now = int(seconds) + int(microseconds) / 1e6
    return [make_row_state(row_id, now, *facts) for row_id, facts in zip(row_ids, cut(replies, FIELDS), strict=True)]


def make_row_state(row_id: str, now: float, value: Any, expires_ms: int, *facts: Any) -> RowState:
    """Make a state of the replies of Redis. Raises redis.ResponseError, but not for the type of the value."""
    for reply in facts:
        if isinstance(reply, Exception):
            raise reply
    if isinstance(value, int):
        value = b"" if value else None
    if isinstance(value, Exception):
        if not str(value).startswith("WRONGTYPE"):
            raise value
        value = b""
    refreshed, due, delay, changed, failure = facts
    return RowState(
        row_id=row_id,
        at=now,
        value=value,
        expires_s=expires_ms / 1000 if expires_ms >= 0 else None,
        refreshed=refreshed,
        due=due,
        delay=delay,
        changed=None if changed is None or changed > now + AHEAD_S else changed,
        failure=None if failure is None else parse_failure(row_id, failure),
    )
