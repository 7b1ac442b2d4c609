"""Own which rows are due when: intervals from 0.1 s to 60 s mixed, due times spread evenly. Knows no contender."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

MIX = {0.1: 0.3, 1.0: 0.3, 10.0: 0.3, 60.0: 0.1}
"""Interval in seconds -> its share of the refreshes."""

GOLDEN_RATIO = 0.6180339887498949


@dataclass(frozen=True)
class Row:
    """A row of a timetable."""

    row_id: str
    delay_s: float
    due: float
    """When it is due first; Unix seconds."""


def timetable(rate: int, start: float, table_rows: int) -> list[Row]:
    """Give so many refreshes a second, from `start` on, of rows that lie anywhere in a table of `table_rows` rows."""
    counts, total = groups(rate), size(rate)
    if total > table_rows:
        raise ValueError(f"{rate} refreshes a second take {total:,} rows: the table has {table_rows:,}")
    ids = iter(random.Random(rate).sample(range(1, table_rows + 1), total))  # always the same rows
    return [
        Row(str(row_id), delay_s, start + due_in)
        for number, (delay_s, count) in enumerate(counts.items())
        for row_id, due_in in zip(islice(ids, count), spread(delay_s, count, number), strict=True)
    ]


def groups(rate: int) -> dict[float, int]:
    """Give how many rows of each interval make so many refreshes a second."""
    return {delay_s: round(rate * share * delay_s) for delay_s, share in MIX.items()}


def size(rate: int) -> int:
    """Give how many rows make so many refreshes a second."""
    return sum(groups(rate).values())


def spread(delay_s: float, count: int, number: int) -> Iterator[float]:
    """Spread the first refreshes of the rows of one interval evenly over it; each interval has a phase of its own."""
    phase = (number + 1) * GOLDEN_RATIO % 1
    return ((n + phase) / count * delay_s for n in range(count))
