"""Limits of a dispatcher: settings, and those of looks for proven rows."""

from dataclasses import dataclass

LOOKS = 5
"""Limit of looks for proven rows after one claim with half a batch or more of new and failing rows."""
LOOK_ROWS = 1000
"""Rows of one look: about 1.5 ms of the server."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings of a dispatcher, as in Settings."""

    batch_size: int = 500
    lease_s: float = 30.0
    poll_interval_s: float = 0.05
    max_queue: int = 50
