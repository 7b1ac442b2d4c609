"""Settings of a dispatcher."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings of a dispatcher, as in Settings."""

    batch_size: int = 500
    lease_s: float = 30.0
    poll_interval_s: float = 0.05
    max_queue: int = 50
