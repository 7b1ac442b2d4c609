"""Times and counters in replies of Redis, which other programs may have written."""

import math
from typing import Any

from rowcache_tasks.schedule.row_state import AHEAD_S


def clock_error(now: float, clock: Any, step: Any, max_staleness_s: float) -> float:
    """Return by how much ages are too low: after a step of the last max_staleness_s, and by one that nobody noted."""
    error_s = max(0.0, (parse_time(clock) or 0.0) - now)
    stepped_at, stepped_s = [*map(parse_time, (step or b"").split()), None, None][:2]
    if stepped_at is None or stepped_s is None or now > stepped_at + stepped_s + max_staleness_s:
        return error_s
    return error_s + stepped_s


def past(now: float, time: float | None) -> float | None:
    """Return a time of the past; None for one in the future."""
    return time if time is not None and time <= now + AHEAD_S else None


def parse_count(value: bytes | None) -> int:
    """Parse a counter; 0 if it is not a number of 64 bits, as all that Redis counts."""
    try:
        count = int(value or 0)
    except ValueError:
        return 0
    return count if abs(count) < 2**63 else 0


def parse_time(value: Any, otherwise: float | None = None) -> float | None:
    """Parse a time; None if it is no number, `otherwise` if it is not finite."""
    try:
        time = float(value)
    except (TypeError, ValueError):
        return None
    return time if math.isfinite(time) else otherwise
