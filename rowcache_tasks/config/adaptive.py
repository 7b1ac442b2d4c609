"""Adaptive: bounds of intervals that follow how often rows change."""

from collections.abc import Mapping
from typing import NamedTuple

from rowcache_tasks.config.parse import refusal, seconds

BOUND = seconds(0.05, 86400)
BOUNDS = frozenset(["min", "max"])


class Adaptive(NamedTuple):
    """Shortest and longest delay of a row; seconds."""

    min_s: float
    max_s: float


def parse_adaptive(setting: str, value: object) -> Adaptive:
    """Accept a dictionary of `min` and `max`, in seconds; min is below max."""
    if not isinstance(value, Mapping) or set(value) != BOUNDS:
        raise refusal(setting, value, 'a dictionary of seconds like {"min": 1, "max": 60}')
    found = Adaptive(BOUND(f"{setting}['min']", value["min"]), BOUND(f"{setting}['max']", value["max"]))
    if found.min_s >= found.max_s:
        raise refusal(setting, value, "a min below max")
    return found
