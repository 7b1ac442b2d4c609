"""Own what two numbers tell about a row each time it is looked at: which refresh was done, and when it was due.

The numbers are the scores of a row in `schedule:` (when it is due, or when the lease of a claim ends) and in
`refreshed:` (when it was written last). Knows no Redis.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Refresh(NamedTuple):
    """A refresh that was done; Unix times."""

    due: float | None
    """None when that is not known: the row was refreshed more than once between two looks."""
    at: float


@dataclass(slots=True)
class Watched:
    """What is known of a row."""

    row_id: str
    delay_s: float
    due: float | None
    """When it is due next, or was due; None when that is not known."""
    refreshed: float
    claimed: float | None = None
    """When it was claimed; None when it was not seen claimed, or claims leave no lease behind."""
    idle_at: float = 0.0
    """When it was last seen unclaimed."""
    seen_at: float = 0.0
    """When it was last seen not refreshed."""

    def note(self, score: float, refreshed: float, now: float, lease_s: float | None) -> Refresh | None:
        """Take in what a look from `now` on has found; give the refresh that it shows."""
        if refreshed <= self.refreshed:
            self.seen_at = now
            if score == self.due:
                self.idle_at = now
            elif lease_s is not None:
                self.claimed = score - lease_s
            return None
        # What is due later than a delay after the refresh is not: that is the end of the next lease.
        is_due = score <= refreshed + self.delay_s
        next_claimed = None if is_due or lease_s is None else score - lease_s
        claimed = self._claim_of(score - self.delay_s if is_due else None, next_claimed)
        found = Refresh(self.due if self._is_only(claimed, refreshed) else None, refreshed)
        self.due = None if claimed is None else claimed + self.delay_s
        if is_due:
            self.due = score
        self.refreshed, self.claimed = refreshed, next_claimed
        return found

    def _claim_of(self, claimed: float | None, next_claimed: float | None) -> float | None:
        """Give when the claim was that has led to the refresh; two claims are a delay apart at least."""
        if claimed is None and self.claimed is not None and next_claimed is not None:
            return self.claimed if next_claimed < self.claimed + 2 * self.delay_s else None
        return claimed

    def _is_only(self, claimed: float | None, refreshed: float) -> bool:
        """Whether there was no refresh but this one since the row was due.

        Two claims are a delay apart, with a refresh between them. So it is when the row was claimed less than a delay
        after it was due or was seen unclaimed, or before it was last seen not refreshed.
        """
        if self.due is None:
            return False
        first = max(self.due, self.idle_at) + self.delay_s
        return refreshed < first if claimed is None else claimed < max(first, self.seen_at)
