"""Own what callers may pass to tasks: turn it into row ids and delays, or raise ArgumentError. No I/O."""

import math
from collections.abc import Iterable, Mapping

from rowcache_tasks.config import shorten
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.keys import encode_row_id

__all__ = ["parse_delay", "parse_delays", "parse_row_id", "parse_row_ids"]

MAX_ROW_ID_BYTES = 1024
MIN_DELAY_S = 0.05
"""Below, one row alone keeps a dispatcher and a worker busy; most likely it was meant in another unit."""
MAX_DELAY_S = 10 * 365 * 86400


def parse_row_id(value: object) -> str:
    """Accept a non-empty text of up to MAX_ROW_ID_BYTES, or an integer."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise ArgumentError(f"row id is {shorten(value)}: it must be a non-empty string or an integer")
    try:
        size = len(encode_row_id(value))
    except UnicodeEncodeError as error:
        raise ArgumentError(f"row id is {shorten(value)}: it has a lone surrogate, which is no character") from error
    if size > MAX_ROW_ID_BYTES:
        raise ArgumentError(f"row id is {shorten(value)}: found {size} bytes, allowed are {MAX_ROW_ID_BYTES}")
    return value


def parse_row_ids(value: object) -> list[str]:
    """Accept a list of row ids, or a single one; each is returned once, in order."""
    if isinstance(value, str | int):
        return [parse_row_id(value)]
    if not isinstance(value, Iterable) or isinstance(value, bytes | Mapping):
        raise ArgumentError(f"row_ids is {shorten(value)}: it must be a list of row ids")
    return list(dict.fromkeys(map(parse_row_id, value)))


def parse_delay(value: object) -> float:
    """Accept a number of seconds from MIN_DELAY_S to MAX_DELAY_S."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ArgumentError(f"delay is {shorten(value)}: it must be a finite number of seconds")
    if not MIN_DELAY_S <= value <= MAX_DELAY_S:
        raise ArgumentError(
            f"delay is {shorten(value)}: it must be from {MIN_DELAY_S} to {MAX_DELAY_S} seconds; "
            "to stop caching a row, use unschedule_row"
        )
    return float(value)


def parse_delays(value: object) -> dict[str, float]:
    """Accept a dictionary of row id -> delay."""
    if not isinstance(value, Mapping):
        raise ArgumentError(f'delays is {shorten(value)}: it must be a dictionary of row id -> seconds, {{"42": 10}}')
    return {parse_row_id(row_id): parse_delay(delay) for row_id, delay in value.items()}
