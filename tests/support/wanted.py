"""What should be true of one row, by the history that led there: the model that random histories are checked against.

Knows no Redis and no SQL. It follows the order of events, not times: whether a refresh was asked for since the row
changed, which schedule change was enqueued last, and the highest version that a reader has seen.
"""

from dataclasses import dataclass, field
from typing import Any

LEASE_S = 300.0
MISSING_LIMIT = 2
SLACK_S = 60.0
"""Real time that one history may take at most: leases nearer to their end than this may have ended."""


@dataclass(frozen=True)
class Stored:
    """A row of the database. A broken one has no JSON form, or cannot even be read."""

    version: int
    is_broken: bool = False


@dataclass
class Wanted:
    """One row id of one table."""

    delay: float | None = None
    """Seconds between refreshes; None: not to be cached."""
    is_pending: bool = False
    """A foreign client asked for it to be dropped; the next claim that finds it due does so."""
    stamp: float = float("-inf")
    """When the last change applied was enqueued."""
    stored: Stored | None = None
    is_asked: bool = False
    """A refresh was asked for since the row changed in the database."""
    is_due: bool = False
    """A refresh was asked for, and nobody has claimed the row since."""
    absent_at: int = 0
    """The version of the database since which it had no such row, the last time that it had none."""
    misses: int = 0
    """At most so many refreshes in a row did not find it."""
    seen: int = 0
    value: bytes | None = None
    lease: tuple[str, float] | None = field(default=None, repr=False)
    """Who holds it, and for how many seconds more."""

    def ask(self) -> None:
        """A refresh is asked for, whatever is in flight."""
        self.lease = None
        self.is_asked = self.is_due = True

    def put(self, delay: float) -> None:
        self.delay, self.is_pending = delay, False
        self.ask()

    def drop(self, *, is_pending: bool = False) -> None:
        self.delay, self.lease, self.is_due, self.is_pending = None, None, False, is_pending

    def touch(self) -> None:
        """A foreign client makes it due: a refresh of a wanted row, a drop of one without a delay."""
        if self.delay is None:
            self.is_pending = True
        else:
            self.ask()

    def accepts(self, stamp: float) -> bool:
        """Whether a change enqueued then applies: not if one enqueued later was applied before."""
        if stamp < self.stamp:
            return False
        self.stamp = stamp
        return True

    def store(self, stored: Stored) -> None:
        self.stored, self.is_asked = stored, False

    def delete(self, version: int) -> None:
        self.stored, self.is_asked, self.absent_at = None, False, version

    def claim(self, lease_until: str) -> None:
        """A dispatcher claims it."""
        assert self.delay is not None, "nobody claims a row that nobody wants"
        assert self.lease is None or self.lease[1] < SLACK_S, "nobody claims a row whose lease has not ended"
        self.lease, self.is_due = (lease_until, LEASE_S), False

    def end_claim(self, lease_until: str) -> None:
        """The holder of this lease commits it or gives it back; if it holds it no more, nothing happens."""
        if self.lease and self.lease[0] == lease_until:
            self.lease = None

    def pass_time(self, seconds: float) -> None:
        self.stamp -= seconds
        if self.lease:
            lease_until, left_s = self.lease
            self.lease = (f"{float(lease_until) - seconds:.17g}", left_s - seconds)

    def check_keys(self, now: float, delay: float | None, due: float | None, fence: float | None, failure: Any) -> None:
        """Compare with the keys of the row, after any step."""
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
        """Compare with the value of the row and with what a reader made of it, after any step."""
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
        """Compare once all leases have ended and nothing is due: `expected` is the row as the database has it."""
        assert not self.is_pending, "an unwanted row has left every key"
        if self.delay is None:
            assert row is None
        elif self.is_asked or self.delay < window_s:
            if self.stored is None:
                assert row is None, "a row that does not exist has no value"
            elif not self.stored.is_broken:
                assert row == expected, "what was asked for is cached"
