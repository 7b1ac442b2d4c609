"""Own the schedule of one table in Redis: one method for each script, atomic for the rows of one call.

Must not know SQL, Celery or JSON. Times are texts exactly as the server gave them (Unix seconds), so that a lease
can be compared to the last bit. Row ids are text. Calls of any length are cut into batches of MAX_BATCH_SIZE rows.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import redis

from rowcache_tasks.config import MAX_BATCH_SIZE, Table
from rowcache_tasks.keys import decode_row_id, encode_row_id
from rowcache_tasks.scripts import load_script

__all__ = ["Backoff", "Changed", "Claim", "Committed", "Missed", "Schedule", "cut"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claim:
    """Rows that are ours until the lease ends."""

    claimed_at: str
    lease_until: str
    row_ids: list[str]
    late_ms: list[int]
    """For each row, how long after its due time it was claimed; milliseconds."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of the rows of a commit, as counts."""

    refreshed: int = 0
    """The value was written."""
    unchanged: int = 0
    """The value was what the cache held already."""
    superseded: int = 0
    """Not written: another refresh was committed since the claim, so this value may be older."""
    dropped: int = 0
    """Not written: the row was unscheduled since the claim."""


@dataclass(frozen=True, slots=True)
class Missed:
    """What became of rows that the database did not have, as counts; dropped ones count as missing too."""

    missing: int
    superseded: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Changed:
    """How many rows a schedule change applied to, and how many ignored it because a later one was there before."""

    applied: int
    ignored: int


@dataclass(frozen=True, slots=True)
class Backoff:
    """After n failures in a row the next try is min(max_s, base_s * 2^(n-1)) later, less up to half by chance."""

    base_s: float = 1.0
    max_s: float = 60.0

    def arguments(self) -> list[float]:
        """Give base, bound and a seed: a script's own random numbers are the same at each call."""
        return [self.base_s, self.max_s, random.getrandbits(31)]


class Schedule:
    """The schedule of one table. Needs a client without decode_responses; opens no connection by itself."""

    def __init__(self, client: "redis.Redis", table: Table) -> None:
        self.table = table
        self._client = client
        self._keys = table.keys
        self._prefix = encode_row_id(self._keys.value_prefix)
        self._scripts: dict[str, Any] = {}

    def claim_rows(self, limit: int, lease_s: float) -> tuple[Claim, float | None]:
        """Claim up to `limit` due rows, earliest first; also give the next due time, None when nothing is scheduled.

        Rows without a delay, or with one <= 0, are removed from every key instead. If the process dies after this
        call, the claimed rows are due again when the lease ends.
        """
        keys = self._keys
        reply = self._run(
            "claim_rows",
            [keys.schedule, keys.delay, keys.refreshed, keys.failures, keys.stats],
            [self._prefix, lease_s, limit],
        )
        claim = Claim(
            claimed_at=reply[0].decode(),
            lease_until=reply[1].decode(),
            row_ids=[decode_row_id(row_id) for row_id in reply[3::2]],
            late_ms=[int(late) for late in reply[4::2]],
        )
        return claim, float(reply[2]) if reply[2] else None

    def lease_rows(self, row_ids: Sequence[str], lease_s: float) -> Claim:
        """Claim these rows, due or not; up to MAX_BATCH_SIZE. Rows that are not scheduled are left out."""
        keys = self._keys
        reply = self._run(
            "lease_rows",
            [keys.schedule, keys.delay, keys.refreshed, keys.stats],
            [lease_s, *map(encode_row_id, row_ids)],
        )
        leased = [decode_row_id(row_id) for row_id in reply[2:]]
        return Claim(reply[0].decode(), reply[1].decode(), leased, [0] * len(leased))

    def commit_rows(self, claim: Claim, values: Mapping[str, bytes]) -> Committed:
        """Write the values of rows of the claim and schedule their next refresh at claim time + delay."""
        if not values:
            return Committed()
        keys = self._keys
        late_ms = dict(zip(claim.row_ids, claim.late_ms, strict=True))
        reply = self._run(
            "commit_rows",
            [keys.schedule, keys.delay, keys.refreshed, keys.failures, keys.stats, keys.wake],
            [
                self._prefix,
                claim.claimed_at,
                claim.lease_until,
                int((self.table.ttl_s or 0) * 1000),
                len(values),
                *map(encode_row_id, values),
                *values.values(),
                *(late_ms[row_id] for row_id in values),
            ],
        )
        return Committed(*reply)

    def miss_rows(self, claim: Claim, row_ids: Sequence[str], backoff: Backoff) -> Missed:
        """Remove the values of rows that the database does not have; retry them, drop them at missing_limit."""
        if not row_ids:
            return Missed(0, 0, 0)
        keys = self._keys
        reply = self._run(
            "miss_rows",
            [keys.schedule, keys.delay, keys.refreshed, keys.failures, keys.stats],
            [
                self._prefix,
                claim.claimed_at,
                claim.lease_until,
                self.table.missing_limit,
                *backoff.arguments(),
                *map(encode_row_id, row_ids),
            ],
        )
        return Missed(*reply)

    def release_rows(self, claim: Claim, errors: Mapping[str, str], backoff: Backoff) -> int:
        """Record a failure of each row (row id -> one-line reason) and retry it with backoff; the value stays.

        An empty reason hands the row back: due at once, and not counted as a failure. Returns how many rows were
        still ours.
        """
        if not errors:
            return 0
        keys = self._keys
        reply = self._run(
            "release_rows",
            [keys.schedule, keys.delay, keys.failures, keys.stats],
            [
                claim.lease_until,
                *backoff.arguments(),
                len(errors),
                *map(encode_row_id, errors),
                *(reason.encode("utf-8", "replace") for reason in errors.values()),
            ],
        )
        return int(reply[0])

    def put_rows(self, rows: Mapping[str, tuple[float, float]], stamp: str = "") -> Changed:
        """Schedule rows: row id -> (seconds between refreshes, seconds until the first). Stamp: when enqueued."""
        keys = self._keys
        total = Changed(0, 0)
        for batch in cut(rows.items(), MAX_BATCH_SIZE):
            reply = self._run(
                "put_rows",
                [keys.schedule, keys.delay, keys.changed, keys.failures, keys.wake],
                [
                    stamp,
                    len(batch),
                    *(encode_row_id(row_id) for row_id, _ in batch),
                    *(delay for _, (delay, _) in batch),
                    *(start_in for _, (_, start_in) in batch),
                ],
            )
            total = Changed(total.applied + reply[0], total.ignored + reply[1])
        return total

    def drop_rows(self, row_ids: Iterable[str], stamp: str = "") -> Changed:
        """Unschedule rows and remove their values at once. Stamp: when the change was enqueued."""
        keys = self._keys
        total = Changed(0, 0)
        for batch in cut(row_ids, MAX_BATCH_SIZE):
            reply = self._run(
                "drop_rows",
                [keys.schedule, keys.delay, keys.refreshed, keys.changed, keys.failures, keys.stats],
                [self._prefix, stamp, *map(encode_row_id, batch)],
            )
            total = Changed(total.applied + reply[0], total.ignored + reply[1])
        return total

    def touch_rows(self, row_ids: Iterable[str]) -> int:
        """Make scheduled rows due now; returns how many there were."""
        keys = self._keys
        return sum(
            self._run("touch_rows", [keys.schedule, keys.delay, keys.wake], [*map(encode_row_id, batch)])
            for batch in cut(row_ids, MAX_BATCH_SIZE)
        )

    def _run(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        """Call a script by its digest; redis-py loads it again when the server has forgotten it."""
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self._client.register_script(load_script(name))
        return script(keys, arguments)


def cut(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut a stream into lists of up to `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
