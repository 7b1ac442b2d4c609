"""Own the schedule of one table in Redis: one method for each script, atomic for the rows of one call.

Must not know SQL, Celery or JSON. Times are texts exactly as the server gave them (Unix seconds), so that a lease
can be compared to the last bit. Row ids are text. Calls of any length are cut into calls of SCRIPT_BATCH rows.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import redis
from redis.exceptions import NoScriptError

from rowcache_tasks.config.settings import Table
from rowcache_tasks.keys import FILL_PREFIX, QUEUED_BATCHES, decode_row_id, encode_row_id
from rowcache_tasks.schedule.claim import Claim, late_of, runs
from rowcache_tasks.schedule.outcome import Changed, Committed, Missed
from rowcache_tasks.schedule.scripts import SCRIPT_NAMES, digest_of, load_script

__all__ = ["SCRIPT_BATCH", "Backoff", "Changed", "Claim", "Committed", "Missed", "Schedule", "cut", "touch_calls"]

T = TypeVar("T")

SCRIPT_BATCH = 200
"""Rows in one call of a script, claims excepted: about 2 ms, for which the server does nothing else."""


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
        self._digests = {name: digest_of(name) for name in SCRIPT_NAMES}

    def claim_rows(self, limit: int, lease_s: float) -> tuple[Claim | None, float | None]:
        """Claim up to `limit` due rows, earliest first; also give the next due time, None when nothing is scheduled.

        Rows without a delay, or with one <= 0, are removed from every key instead. If the process dies after this
        call, the claimed rows are due again when the lease ends.

        No Claim at all: a batch claimed half a lease ago was not started yet, so what is due soon may lie in the
        queue still (see backlog.py).
        """
        keys = self._keys
        reply = self._run(
            "claim_rows",
            [keys.schedule, keys.delay, keys.refreshed, keys.failures, keys.stats, QUEUED_BATCHES],
            [self._prefix, FILL_PREFIX, lease_s, limit, lease_s / 2],
        )
        if len(reply) == 1:
            return None, None
        claim = Claim(
            claimed_at=reply[0].decode(),
            lease_until=reply[1].decode(),
            row_ids=[decode_row_id(row_id) for row_id in reply[5:]],
            late=reply[4],
            behind=reply[3],
        )
        return claim, float(reply[2]) if reply[2] else None

    def lease_rows(self, row_ids: Sequence[str], lease_s: float) -> Claim:
        """Claim these rows, due or not, in one call: SCRIPT_BATCH at most. Rows that are not scheduled are left out."""
        keys = self._keys
        reply = self._run(
            "lease_rows",
            [keys.schedule, keys.delay, keys.refreshed, keys.stats],
            [lease_s, *map(encode_row_id, row_ids)],
        )
        leased = [decode_row_id(row_id) for row_id in reply[2:]]
        return Claim(reply[0].decode(), reply[1].decode(), leased, [0, len(leased)])

    def commit_rows(self, claim: Claim, values: Mapping[str, bytes]) -> Committed:
        """Write the values of rows of the claim and schedule their next refresh at claim time + delay.

        Atomic for each row; of many rows, the server does other work in between.
        """
        keys, late_ms, total = self._keys, late_of(claim), Committed()
        for batch in cut(values, SCRIPT_BATCH):
            reply = self._run(
                "commit_rows",
                [keys.schedule, keys.delay, keys.refreshed, keys.failures, keys.stats, keys.wake, keys.expiring],
                [
                    self._prefix,
                    claim.claimed_at,
                    claim.lease_until,
                    int((self.table.ttl_s or 0) * 1000),
                    len(batch),
                    *map(encode_row_id, batch),
                    *(values[row_id] for row_id in batch),
                    *runs(late_ms[row_id] for row_id in batch),
                ],
            )
            total += Committed(*reply)
        return total

    def miss_rows(self, claim: Claim, row_ids: Sequence[str], backoff: Backoff) -> Missed:
        """Remove the values of rows that the database does not have; retry them, drop them at missing_limit."""
        keys, total = self._keys, Missed()
        for batch in cut(row_ids, SCRIPT_BATCH):
            reply = self._run(
                "miss_rows",
                [keys.schedule, keys.delay, keys.refreshed, keys.failures, keys.stats],
                [
                    self._prefix,
                    claim.claimed_at,
                    claim.lease_until,
                    self.table.missing_limit,
                    *backoff.arguments(),
                    *map(encode_row_id, batch),
                ],
            )
            total += Missed(*reply)
        return total

    def release_rows(self, claim: Claim, errors: Mapping[str, str], backoff: Backoff) -> int:
        """Record a failure of each row (row id -> one-line reason) and retry it with backoff; the value stays.

        An empty reason hands the row back: due at once, and not counted as a failure. Returns how many rows were
        still ours.
        """
        keys, released = self._keys, 0
        for batch in cut(errors.items(), SCRIPT_BATCH):
            reply = self._run(
                "release_rows",
                [keys.schedule, keys.delay, keys.failures, keys.stats],
                [
                    claim.lease_until,
                    *backoff.arguments(),
                    len(batch),
                    *(encode_row_id(row_id) for row_id, _ in batch),
                    *(reason.encode("utf-8", "replace") for _, reason in batch),
                ],
            )
            released += int(reply[0])
        return released

    def put_rows(self, rows: Mapping[str, tuple[float, float]], stamp: str = "", *, only_new: bool = False) -> Changed:
        """Schedule rows: row id -> (seconds between refreshes, seconds until the first). Stamp: when enqueued.

        With `only_new`, rows that are scheduled already are left alone.
        """
        keys = self._keys
        total = Changed()
        for batch in cut(rows.items(), SCRIPT_BATCH):
            reply = self._run(
                "put_rows",
                [keys.schedule, keys.delay, keys.changed, keys.failures, keys.stats, keys.wake],
                [
                    self._prefix,
                    stamp,
                    int(only_new),
                    len(batch),
                    *(encode_row_id(row_id) for row_id, _ in batch),
                    *(delay for _, (delay, _) in batch),
                    *(start_in for _, (_, start_in) in batch),
                ],
            )
            total += Changed(*reply)
        return total

    def drop_rows(self, row_ids: Iterable[str], stamp: str = "") -> Changed:
        """Unschedule rows and remove their values at once. Stamp: when the change was enqueued."""
        keys = self._keys
        total = Changed()
        for batch in cut(row_ids, SCRIPT_BATCH):
            reply = self._run(
                "drop_rows",
                [keys.schedule, keys.delay, keys.refreshed, keys.changed, keys.failures, keys.stats],
                [self._prefix, FILL_PREFIX, stamp, *map(encode_row_id, batch)],
            )
            total += Changed(*reply)
        return total

    def touch_rows(self, row_ids: Iterable[str]) -> int:
        """Make scheduled rows due now; returns how many there were.

        Of the others, what readers filled in is removed. A fill in flight writes nothing.
        """
        return sum(self._run("touch_rows", keys, arguments) for keys, arguments in touch_calls(self.table, row_ids))

    def check_clock(self, is_settled: bool = False) -> bool:
        """Note the server's time; return whether its clock has stepped back by over a second since the last note.

        It goes on returning so until `is_settled` says that what is left in the future was mended. Also forgets some
        schedule changes of over a day ago.
        """
        return bool(self._run("check_clock", [self._keys.stats, self._keys.changed], [int(is_settled)]))

    def repair_rows(self, row_ids: Sequence[str], lease_s: float, backoff: Backoff) -> int:
        """Make rows that are due later than they can be due within one delay; returns how many.

        All others are left alone. What was claimed before the clock stepped back may be claimed again before its lease
        ends; the commit of the older claim is then refused.
        """
        keys, repaired = self._keys, 0
        for batch in cut(row_ids, SCRIPT_BATCH):
            _, max_backoff_s, seed = backoff.arguments()
            repaired += int(
                self._run(
                    "repair_rows",
                    [keys.schedule, keys.delay, keys.failures],
                    [lease_s, max_backoff_s, seed, *map(encode_row_id, batch)],
                )
            )
        return repaired

    def scan(self, cursor: int, count: int) -> tuple[int, list[str]]:
        """Give about `count` scheduled row ids and the cursor of the next call, 0 at the end."""
        reply: Any = self._client.zscan(self._keys.schedule, cursor, count=count)
        return int(reply[0]), [decode_row_id(row_id) for row_id, _ in reply[1]]

    def _run(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        """Call a script by its digest; load it again when the server has forgotten it."""
        # Not through redis-py's Script, which takes as long for a call as the call itself.
        call = (self._digests[name], len(keys), *keys, *arguments)
        try:
            return self._client.evalsha(*call)
        except NoScriptError:
            self._client.script_load(load_script(name))
            return self._client.evalsha(*call)


def cut(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut a stream into lists of up to `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def touch_calls(table: Table, row_ids: Iterable[str]) -> Iterator[tuple[list[str], list[Any]]]:
    """Give keys and arguments of the calls of touch_rows for these rows: for a pipeline of several tables, too."""
    keys = table.keys
    for batch in cut(row_ids, SCRIPT_BATCH):
        arguments = [encode_row_id(keys.value_prefix), FILL_PREFIX, *map(encode_row_id, batch)]
        yield [keys.schedule, keys.delay, keys.wake], arguments
