"""Limits of a dispatcher: settings, and those of looks for proven rows."""

from dataclasses import dataclass

LOOKS = 5  # limit of looks for proven rows after one claim with half a batch or more of new and failing rows
LOOK_ROWS = 1000  # rows of one look: about 1.5 ms of the server
LEAST_LEASE_S = 5.0
"""Shortest lease of a claim, unless rowcache_lease is shorter. A worker that stands still for less loses no batch."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings of a dispatcher, as in Settings."""

    batch_size: int = 500
    lease_s: float = 30.0  # the longest; the lease of a claim follows the time that batches take
    poll_interval_s: float = 0.05
    max_queue: int = 50

    @property
    def least_lease_s(self) -> float:
        """The shortest lease."""
        return min(self.lease_s, LEAST_LEASE_S)
