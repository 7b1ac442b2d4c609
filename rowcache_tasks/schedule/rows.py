"""The schedule of a table in Redis: one method for each script.

A call is atomic for its rows; longer calls are cut into calls of SCRIPT_BATCH rows. Times are texts exactly as the
server gave them (Unix seconds), so that a lease can be compared to the last bit. Row ids are text.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.keys import Keys
from rowcache_tasks.schedule.claim import Changed, Claim, Committed, Missed, Released, sum_of
from rowcache_tasks.schedule.cut import SCRIPT_BATCH, cut, cut_by_bytes
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.growth import Growth
from rowcache_tasks.schedule.row_id import decode_row_id, encode_row_id
from rowcache_tasks.schedule.row_state import Backoff
from rowcache_tasks.schedule.script import Script, ScriptCall, load_script
from rowcache_tasks.schedule.servers import open_exchange, run_each, wake_home

T = TypeVar("T")

DIVIDED = 100 * SCRIPT_BATCH  # rows of a stream that are divided among the parts of a table at once


class Schedule:
    """The schedule of a table, or of one part of it. Opens no connection by itself.

    Needs a client without decode_responses. Rows of a table that is divided are put, dropped and touched in the parts
    where they are; all else is done with one of `parts`.
    """

    def __init__(self, client: "redis.Redis", table: Table, load: Callable[[str], Script] = load_script) -> None:
        self.table, self._client, self._load = table, client, load
        self._promise = (table.max_staleness_s or 0, 1 - (table.target or 0))  # 0: none; share that may be older
        self._growth = Growth(client, table, load) if table.growing_from else None
        self.parts: Mapping[str, Schedule] = {table.place: self}  # by the `namespace` of claims
        if table.partitions > 1:
            self.parts = {part.place: Schedule(client, part, load) for part in table.parts}

    def divide(self, row_ids: Iterable[str]) -> "list[tuple[Schedule, list[str]]]":
        """Return the rows of each part that has any; of a table that grows, where they are now."""
        return self._apply(row_ids, lambda divided: divided)

    def claim_rows(self, limit: int, lease_s: float, *args: Any, **options: Any) -> tuple[Claim | None, float | None]:
        """Claim up to `limit` due rows, earliest first; also return the next due time, None when no row is scheduled.

        Other arguments as for claim_call. Rows without a delay, or with one <= 0, and the row id "" are removed from
        every key instead. If the process dies after this call, the claimed rows are due again when the lease ends.

        No Claim: a batch that was claimed half of the shortest lease ago is not started yet, so that due rows may be in
        the queue already (dispatch/backpressure.py).
        """
        return self.read_claim(self.claim_call(limit, lease_s, *args, **options).run(self._client))

    def claim_call(
        self, limit: int, lease_s: float, looks: int = 0, since: str = "-inf", note: str = "", least_s: float = math.inf
    ) -> ScriptCall:
        """Return the call of claim_rows, for an Exchange.

        The lease is as long as batches of the table need: from `least_s` to `lease_s`. With `looks`, claim proven
        rows only: rows that were refreshed before and do not fail, among the first `looks` rows due since `since`
        (Claim.go_on_at of the last look). Rows above the cap of the table stay due. `note`: facts as JSON, for explain.
        """
        head = (self._prefix, Keys.fill_prefix, lease_s, limit, min(least_s, lease_s), looks, since)
        return self._call("claim_rows", *head, self.table.max_rate or 0, note)

    def read_claim(self, reply: Any) -> tuple[Claim | None, float | None]:
        """Return the result of claim_rows, of a reply to its call."""
        if len(reply) == 1:
            return None, None
        claimed_at, lease_until, epoch, next_due, behind, late_ms, unproven, go_on_at, *row_ids = reply
        claim = self._claim(claimed_at, lease_until, epoch, row_ids)
        claim = replace(claim, behind=behind, late_ms=late_ms, unproven=unproven, go_on_at=go_on_at.decode())
        return claim, float(next_due) if next_due else None

    def lease_rows(self, row_ids: Sequence[str], lease_s: float) -> Claim:
        """Claim up to SCRIPT_BATCH named rows, due or not. Rows that are not scheduled are left out."""
        claimed_at, lease_until, epoch, *leased = self._run("lease_rows", lease_s, *map(encode_row_id, row_ids))
        return self._claim(claimed_at, lease_until, epoch, leased)

    def commit_rows(self, claim: Claim, values: Mapping[str, bytes]) -> Committed:
        """Write the values of rows of the claim and schedule their next refresh at claim time + delay.

        A value that ends in a comma is the beginning of the cached value, which stays; if that has another beginning by
        now, the row is superseded.

        Atomic for each call. If the process dies between two calls, the other rows wait for one lease.
        """
        return sum_of(Committed, self._run_each(self.commit_calls(claim, values)))

    def commit_calls(self, claim: Claim, values: Mapping[str, bytes]) -> Iterator[ScriptCall]:
        """Return the calls of commit_rows, for an Exchange; cut by SCRIPT_BATCH and CALL_BYTES."""
        ttl_ms = int((self.table.ttl_s or 0) * 1000)
        limits = (ttl_ms, claim.late_ms, claim.commit_by, claim.read_ms, claim.slow_ms)
        delays = (*self._promise, *(self.table.adaptive or (0, 0)))
        for batch in cut_by_bytes(values):
            head = [self._prefix, claim.claimed_at, claim.lease_until, claim.epoch, *limits, *delays, len(batch)]
            row_ids = map(encode_row_id, batch)
            yield self._call("commit_rows", *head, *row_ids, *(values[row_id] for row_id in batch))

    def look_calls(self, row_ids: Sequence[str], shape: str, margin_s: float, length: int) -> Iterator[ScriptCall]:
        """Return calls that reply the first bytes of each value: b"" without one, or when it may have another shape.

        `shape`: a text for the columns of the values. A value that was committed up to margin_s after the shape was
        noted may be one of a worker with another shape.
        """
        for batch in cut(row_ids, SCRIPT_BATCH):
            yield self._call("look_rows", self._prefix, shape, margin_s, length, *map(encode_row_id, batch))

    def miss_rows(self, claim: Claim, row_ids: Sequence[str], backoff: Backoff) -> Missed:
        """Remove the values of rows that the database does not have; retry them, drop them at missing_limit."""
        return sum_of(Missed, self._run_each(self.miss_calls(claim, row_ids, backoff)))

    def miss_calls(self, claim: Claim, row_ids: Sequence[str], backoff: Backoff) -> Iterator[ScriptCall]:
        """Return the calls of miss_rows, for an Exchange."""
        for batch in cut(row_ids, SCRIPT_BATCH):
            yield self._call(
                "miss_rows",
                *(self._prefix, claim.claimed_at, claim.lease_until, claim.epoch, claim.commit_by),
                *(self.table.missing_limit, *backoff.arguments()),
                *map(encode_row_id, batch),
            )

    def release_rows(self, claim: Claim, errors: Mapping[str, str], backoff: Backoff) -> int:
        """Record a failure of each row (row id -> one-line reason) and retry it with backoff; the value stays.

        An empty reason makes the row due at once and is not counted as a failure. Returns the number of rows that
        were still claimed.
        """
        return sum_of(Released, self._run_each(self.release_calls(claim, errors, backoff))).released

    def release_calls(self, claim: Claim, errors: Mapping[str, str], backoff: Backoff) -> Iterator[ScriptCall]:
        """Return the calls of release_rows, for an Exchange."""
        for batch in cut(errors, SCRIPT_BATCH):
            yield self._call(
                "release_rows",
                *(claim.lease_until, *backoff.arguments(), len(batch)),
                *map(encode_row_id, batch),
                *(errors[row_id].encode("utf-8", "replace") for row_id in batch),
            )

    def put_rows(self, rows: Mapping[str, tuple[float, float]], stamp: str = "", *, only_new: bool = False) -> Changed:
        """Schedule rows: row id -> (seconds between refreshes, seconds until the first).

        `stamp`: when the change was enqueued, "" for now. `only_new`: leave rows alone that are scheduled already. Rows
        of a table with adaptive intervals start within their bounds.
        """

        def call(part: Schedule, batch: Sequence[str]) -> ScriptCall:
            delays, starts = zip(*(self.table.start_of(*rows[row_id]) for row_id in batch), strict=True)
            head = (part._prefix, stamp, int(only_new), len(batch))
            return part._call("put_rows", *head, *map(encode_row_id, batch), *delays, *starts)

        changed = sum_of(Changed, self._change(rows, call))
        wake_home(self._client, self.table.deployment)
        return changed

    def drop_rows(self, row_ids: Iterable[str], stamp: str = "") -> Changed:
        """Unschedule rows and remove their values at once. `stamp`: when the change was enqueued, "" for now."""

        def call(part: Schedule, batch: Sequence[str]) -> ScriptCall:
            return part._call("drop_rows", part._prefix, Keys.fill_prefix, stamp, *map(encode_row_id, batch))

        return sum_of(Changed, self._change(row_ids, call))

    def touch_rows(self, row_ids: Iterable[str], wait_s: Callable[[int], float] = lambda _: 0.0) -> int:
        """Make scheduled rows due now; return their number. Rows that are not scheduled lose their values.

        A fill in flight writes nothing. `wait_s`: called with the number of rows of each call, in how many seconds they
        are due; those that are due before stay so, and are not counted. A claimed row is due when its lease ends.
        """
        touched: int = sum(self._change(row_ids, lambda part, some: part.touch_call(some, wait_s(len(some)))))
        wake_home(self._client, self.table.deployment)
        return touched

    def touch_call(self, row_ids: Sequence[str], wait_s: float = 0.0) -> ScriptCall:
        """Return the call of touch_rows for up to SCRIPT_BATCH rows of this part."""
        return self._call("touch_rows", self._prefix, Keys.fill_prefix, wait_s, *map(encode_row_id, row_ids))

    def check_clock(self, is_settled: bool = False) -> bool:
        """Note the server's time; return whether its clock has stepped back by over a second since the last repair.

        Small steps add up. True until a call with `is_settled`, after the repair. Also forgets some schedule changes
        of over a day ago, and notes for how long the promise was kept.
        """
        return bool(self._run("check_clock", int(is_settled), *self._promise))

    def repair_rows(self, row_ids: Sequence[str], lease_s: float, backoff: Backoff) -> int:
        """Make rows due within one delay that are due later than possible; return their number.

        All others are left alone. A row that was claimed before the clock stepped back may be claimed again before its
        lease ends; the commit of the older claim is then refused.
        """
        repaired = 0
        for batch in cut(row_ids, SCRIPT_BATCH):
            _, max_backoff_s, seed = backoff.arguments()
            repaired += int(self._run("repair_rows", lease_s, max_backoff_s, seed, *map(encode_row_id, batch)))
        return repaired

    def exchange(self) -> Exchange:
        """Return an exchange with the server, for calls whose replies are read later."""
        return open_exchange(self._client)

    def scan(self, cursor: int, count: int) -> tuple[int, list[str]]:
        """Return the cursor of the next call, 0 at the end, and about `count` scheduled row ids."""
        reply: Any = self._client.zscan(self.table.keys.schedule, cursor, count=count)
        return int(reply[0]), [decode_row_id(row_id) for row_id, _ in reply[1]]

    def _claim(self, claimed_at: bytes, lease_until: bytes, epoch: bytes, row_ids: Sequence[bytes]) -> Claim:
        found = list(map(decode_row_id, row_ids))
        return Claim(claimed_at.decode(), lease_until.decode(), found, epoch.decode(), namespace=self.table.place)

    @property
    def _prefix(self) -> bytes:
        return encode_row_id(self.table.keys.value_prefix)

    def _call(self, name: str, *arguments: Any) -> ScriptCall:
        return self._load(name).call(self.table.keys, *arguments)

    def _run(self, name: str, *arguments: Any) -> Any:
        return self._call(name, *arguments).run(self._client)

    def _run_each(self, calls: Iterable[ScriptCall]) -> Iterator[Any]:
        return (call.run(self._client) for call in calls)

    def _change(self, row_ids: Iterable[str], call: "Callable[[Schedule, Sequence[str]], ScriptCall]") -> Iterator[Any]:
        """Change rows where they are now; yield the reply of each call."""

        def run(divided: "list[tuple[Schedule, list[str]]]") -> list[Any]:
            calls = [call(part, batch) for part, some in divided for batch in cut(some, SCRIPT_BATCH)]
            return run_each(self._client, calls, self.table.replicas)

        for some in cut(row_ids, DIVIDED):
            yield from self._apply(some, run)

    def _apply(self, row_ids: Iterable[str], change: "Callable[[list[tuple[Schedule, list[str]]]], T]") -> T:
        """Call a function with the rows of each part, where they are now."""
        found = [*row_ids]

        def apply(table: Table) -> T:
            return change([(self.parts[part.place], some) for part, some in table.divide(found)])

        return self._growth.apply(found, apply) if self._growth else apply(self.table)
