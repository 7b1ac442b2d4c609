"""Model of one row: the state that its history allows.

It follows the order of events, not their times: whether a refresh was requested since the row changed, which schedule
change was enqueued last, and the highest version that a reader has seen.
"""

from dataclasses import dataclass, field
from typing import Any

LEASE_S = 300.0
MISSING_LIMIT = 2
SLACK_S = 60.0
"""Longest real time of one history: a lease that is nearer to its end may have ended."""


@dataclass(frozen=True)
class StoredRow:
    """Row in the database. A broken row has no JSON form, or cannot be read."""

    version: int
    is_broken: bool = False


@dataclass
class RowModel:
    """Row id of one table."""

    delay: float | None = None
    """Seconds between refreshes; None: the row is not cached."""
    is_pending: bool = False
    """A foreign client requested a drop; the next claim that finds the row due drops it."""
    stamp: float = float("-inf")
    """Enqueue time of the last change applied."""
    stored: StoredRow | None = None
    is_asked: bool = False
    """A refresh was requested since the row changed in the database."""
    is_due: bool = False
    """A refresh was requested, and the row has not been claimed since."""
    absent_at: int = 0
    """Version of the database at the last deletion of the row."""
    misses: int = 0
    """Upper bound of the consecutive refreshes that did not find the row."""
    seen: int = 0
    value: bytes | None = None
    lease: tuple[str, float] | None = field(default=None, repr=False)
    """End of the lease as the claim has it, and seconds left."""

    def ask(self) -> None:
        """Request a refresh, whatever is in flight."""
        self.lease = None
        self.is_asked = self.is_due = True

    def put(self, delay: float) -> None:
        self.delay, self.is_pending = delay, False
        self.ask()

    def drop(self, *, is_pending: bool = False) -> None:
        self.delay, self.lease, self.is_due, self.is_pending = None, None, False, is_pending

    def touch(self) -> None:
        """A foreign client makes the row due: a refresh of a row with a delay, a drop of a row without."""
        if self.delay is None:
            self.is_pending = True
        else:
            self.ask()

    def accepts(self, stamp: float) -> bool:
        """Return whether a change with this stamp applies: no change enqueued later was applied before it."""
        if stamp < self.stamp:
            return False
        self.stamp = stamp
        return True

    def store(self, stored: StoredRow) -> None:
        self.stored, self.is_asked = stored, False

    def delete(self, version: int) -> None:
        self.stored, self.is_asked, self.absent_at = None, False, version

    def claim(self, lease_until: str) -> None:
        """A dispatcher claims the row."""
        assert self.delay is not None, "nobody claims a row that nobody wants"
        assert self.lease is None or self.lease[1] < SLACK_S, "nobody claims a row whose lease has not ended"
        self.lease, self.is_due = (lease_until, LEASE_S), False

    def end_claim(self, lease_until: str) -> None:
        """The holder of this lease commits or releases it; a lease that has passed to another changes nothing."""
        if self.lease and self.lease[0] == lease_until:
            self.lease = None

    def pass_time(self, seconds: float) -> None:
        self.stamp -= seconds
        if self.lease:
            lease_until, left_s = self.lease
            self.lease = (f"{float(lease_until) - seconds:.17g}", left_s - seconds)

    def check_keys(self, now: float, delay: float | None, due: float | None, fence: float | None, failure: Any) -> None:
        """Check the keys of the row, after any step."""
        if self.delay is not None and due is None and delay is None:
            assert self.misses >= MISSING_LIMIT, "a scheduled row is never lost"
            self.drop()
        if self.is_pending and due is None:
            self.is_pending = False
        if failure is None:
            self.misses = 0
        if self.delay is not None:
            assert due is not None, "a scheduled row is never lost"
            assert delay == self.delay
            assert due <= now or not self.is_due, "what was asked for is done next, whatever was in flight"
        elif not self.is_pending:
            assert (delay, due, fence, failure) == (None, None, None, None), "a dropped row has left every key"

    def check_value(self, value: bytes | None, row: dict[str, Any] | None) -> None:
        """Check the value of the row and the decoded row of a reader, after any step."""
        if value is not None:
            assert row is not None
            assert self.delay is not None or self.is_pending, "a dropped row has no value"
            assert row["version"] >= self.seen, "a cached value never goes back"
            assert self.delay is not None or value == self.value, "a row that is to be dropped is not written"
            self.seen = row["version"]
        elif self.value is not None and self.delay is not None:
            assert self.absent_at > self.seen, "a value is not removed by what was read before it"
        self.value = value

    def check_settled(self, row: dict[str, Any] | None, expected: dict[str, Any] | None, window_s: float) -> None:
        """Check the row when all leases have ended and nothing is due; `expected` is the row of the database."""
        assert not self.is_pending, "an unwanted row has left every key"
        if self.delay is None:
            assert row is None
        elif self.is_asked or self.delay < window_s:
            if self.stored is None:
                assert row is None, "a row that does not exist has no value"
            elif not self.stored.is_broken:
                assert row == expected, "what was asked for is cached"
