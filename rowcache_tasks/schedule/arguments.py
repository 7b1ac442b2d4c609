"""Checks of the arguments of tasks: row ids, delays, stamps."""

import math
import re
from collections.abc import Mapping, Sequence

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.schedule.row_id import encode_row_id
from rowcache_tasks.text import shorten

MAX_ROW_ID_BYTES = 1024
MIN_DELAY_S = 0.05
"""A row with a shorter delay keeps a dispatcher and a worker busy; most likely it is in another unit."""
MAX_DELAY_S = 10 * 365 * 86400
TIME = re.compile(r"[0-9]{1,12}(\.[0-9]{1,20})?")
"""As the scripts write a time: Unix seconds in plain digits."""


def parse_row_id(value: object) -> str:
    """Accept a non-empty text of up to MAX_ROW_ID_BYTES, or an integer."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 3 * MAX_ROW_ID_BYTES:
        return int.__repr__(value)
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
    if not isinstance(value, list | tuple):
        raise ArgumentError(f"row_ids is {shorten(value)}: it must be a list of row ids")
    return list(dict.fromkeys(map(parse_row_id, value)))


def parse_delay(value: object) -> float:
    """Accept a number of seconds from MIN_DELAY_S to MAX_DELAY_S."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
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


def parse_stamp(value: object) -> str:
    """Accept the time at which a change was enqueued, as text; empty: now."""
    if not isinstance(value, str) or (value and not TIME.fullmatch(value)):
        raise ArgumentError(f"stamp is {shorten(value)}: it must be Unix seconds in plain digits, as text, or empty")
    return value


def is_finite(value: float) -> bool:
    """Whether a number is finite; one too large for a float is."""
    return isinstance(value, int) or math.isfinite(value)


def are_members(values: Sequence[object]) -> bool:
    """Whether all are texts that can be row ids of members of a schedule."""
    try:
        encode_row_id("".join(values))  # type: ignore[arg-type]  # join() finds out
    except (TypeError, UnicodeEncodeError):
        return False
    return True
