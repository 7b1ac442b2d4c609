"""Arguments of tasks and their checks: row ids, delays, stamps."""

import math
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.schedule.row_id import encode_row_id, is_key, key_list, key_text

Delay = float | timedelta  # seconds, or a timedelta
MAX_ROW_ID_BYTES = 1024
MIN_DELAY_S = 0.05  # a row with a shorter delay keeps a worker busy; most likely it is in another unit
MAX_SAMPLE = 1_000_000
MAX_DELAY_S = 10 * 365 * 86400
STEP_US = 1_000_000  # a clock that went back by more was set; by less, it was adjusted, or read twice in a tick
TIME = re.compile(r"[0-9]{1,12}(\.[0-9]{1,20})?")  # as the scripts write a time: Unix seconds in plain digits


def parse_row_id(value: object) -> str:
    """Accept a key whose text has up to MAX_ROW_ID_BYTES; return the text."""
    text = key_text(value)
    size = len(encode_row_id(text))
    if size > MAX_ROW_ID_BYTES:
        raise ArgumentError(f"row id is {shorten(value)}: found {size} bytes, allowed are {MAX_ROW_ID_BYTES}")
    return text


def parse_row_ids(value: object) -> list[str]:
    """Accept an iterable of keys; return the text of each once, in order."""
    return list(dict.fromkeys(map(parse_row_id, key_list(value))))


def plain(value: object) -> Any:
    """Return an argument as JSON keeps it: a key as its row id, a timedelta as seconds, many keys as a list."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {key_text(key): plain(delay) for key, delay in value.items()}
    if is_key(value) and not isinstance(value, str | int):
        return key_text(value)
    return [plain(item) for item in value] if isinstance(value, Iterable) and not isinstance(value, str) else value


def parse_seconds(name: str, value: object) -> float:
    """Accept a finite number of seconds, or a timedelta."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        raise ArgumentError(f"{name} is {shorten(value)}: it must be a finite number of seconds or a timedelta")
    return value


def parse_delay(value: object) -> float:
    """Accept a number of seconds, or a timedelta, from MIN_DELAY_S to MAX_DELAY_S seconds."""
    seconds = parse_seconds("delay", value)
    if not MIN_DELAY_S <= seconds <= MAX_DELAY_S:
        raise ArgumentError(
            f"delay is {shorten(value)}: it must be from {MIN_DELAY_S} to {MAX_DELAY_S} seconds; "
            "to stop caching a row, unschedule it"
        )
    return float(seconds)


def parse_delays(value: object) -> dict[str, float]:
    """Accept a dictionary of key -> delay; of equal texts ("42" and 42) the last counts."""
    if not isinstance(value, Mapping):
        raise ArgumentError(f"delays is {shorten(value)}: it must be a dictionary of key -> seconds: {{42: 10}}")
    return {parse_row_id(key): parse_delay(delay) for key, delay in value.items()}


def parse_sample(value: object) -> int:
    """Accept a number of rows, from 1 to MAX_SAMPLE."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SAMPLE:
        raise ArgumentError(f"sample is {shorten(value)}: it must be a whole number from 1 to {MAX_SAMPLE:,}")
    return value


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


class Stamps:
    """Makes stamps of the server's times, each later than the one before. Thread-safe.

    The clock of a server may stand still or go back a little between two changes; the later change wins all the same.
    Stamps follow a clock that was set back for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_us = 0

    def stamp(self, time: tuple[int, int]) -> str:
        """Return the stamp of the server's TIME (seconds, microseconds) as text, Unix seconds with six decimals."""
        now_us = int(time[0]) * 1_000_000 + int(time[1])
        with self._lock:
            if self._last_us - STEP_US < now_us <= self._last_us:
                now_us = self._last_us + 1
            self._last_us = now_us
        return f"{now_us // 1_000_000}.{now_us % 1_000_000:06d}"
