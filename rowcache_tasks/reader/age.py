"""Age of a cached row, and whether the row is to be filled."""

from typing import Any

from rowcache_tasks.reader.fill.scripts import Found
from rowcache_tasks.reader.options import ReadRequest

OPENINGS = (b"{", "{")  # first characters of an object; a text comes from a client with decode_responses


def is_object(value: Any) -> bool:
    """Whether a value begins as a JSON object; anything else counts as not cached."""
    return bool(value) and value[:1] in OPENINGS


def is_missed(found: Found, request: ReadRequest) -> bool:
    """Whether a row is to be filled: not cached, or too old."""
    return request.is_filled and (not is_object(found[0]) or is_older(found[1], request.max_age))


def is_stale(found: Found, request: ReadRequest) -> bool:
    """Whether a value is older than max_age, or of unknown age. A value that was filled just now is not."""
    return not request.is_filled and is_older(found[1], request.max_age)


def is_older(age: float | None, max_age: float | None) -> bool:
    """Compare ages in seconds; an unknown age is older than any, and no max_age allows all."""
    return max_age is not None and (age is None or age > max_age)


def age_of(refreshed: float | None, now: tuple[int, int]) -> float | None:
    """Return the seconds since the last accepted commit, by the server's clock.

    None when there was none, or when the clock has stepped back since.
    """
    if refreshed is None:
        return None
    age_s = int(now[0]) + int(now[1]) / 1e6 - float(refreshed)
    return max(0.0, age_s) if age_s > -1 else None
