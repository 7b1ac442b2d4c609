"""Number of values in each round trip of a read, by the size of the last ones."""

from collections.abc import Sequence

from rowcache_tasks.reader.server import PIECE

FIRST = 100  # keys in the first round trip of a read; up to so many are one MGET
WINDOW_BYTES, WINDOW_KEYS, GROWTH = 1 << 20, 10 * PIECE, 5
"""Bounds of each later round trip: bytes expected, keys, and keys for each of the one before."""


def next_count(values: Sequence[bytes | None]) -> int:
    """Return how many values to read next, if they are as large as the last ones."""
    size = sum(len(value) for value in values if value)
    fitting = WINDOW_BYTES * len(values) // max(size, 1)
    return max(1, min(fitting, GROWTH * len(values), WINDOW_KEYS))
