"""Own how full batches are: the dispatcher's loop as a formula.

After a batch a dispatcher cannot claim for a while: it sends, and pauses when the batch was not full. What becomes due
meanwhile is in the next batch. So the fuller the batches, the more rows there are to be refreshed.
"""

import math
from dataclasses import dataclass

__all__ = ["Fill", "Rhythm", "fill_batches"]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The loop of a dispatcher; seconds of the clock."""

    blind_s: float
    """From a claim that found rows until the next one, with a batch of no rows in each table that has any."""
    row_s: float
    """Longer for each row of the batches."""
    poll_s: float
    """A dispatcher claims at least so often."""
    batch_s: float = 0.0
    """Part of blind_s that is spent again for a second table with due rows."""


@dataclass(frozen=True, slots=True)
class Fill:
    """What a second looks like."""

    rows_per_batch: float
    batches_per_s: float
    claims_per_s: float
    """Questions what is due, of all dispatchers, with or without an answer; one for each table."""
    cycle_s: float
    """From a claim of a dispatcher to its next, when rows wait."""
    waits_s: float
    """How long a row waits for a dispatcher that can claim it, on average."""


def fill_batches(
    refreshes_per_s: float,
    batch_size: int,
    rhythm: Rhythm,
    *,
    dispatchers: int = 1,
    tables: int = 1,
    together: float = 1.0,
) -> Fill:
    """Give how full batches are, for rows that are due at moments that have nothing to do with each other.

    `together`: rows of a table that are due at the same moment. While no dispatcher can claim, `moments` of them come;
    when none comes, one is waited for: their number is then 1. That is moments + exp(-moments) on average.
    """
    together = min(together, batch_size)
    rate = refreshes_per_s / together

    def look(cycle_s: float) -> tuple[float, float, float]:
        """Give the moments in a claim of all tables, how many tables have any, and the rows of a batch."""
        missed = rate * cycle_s / dispatchers
        moments = missed + math.exp(-missed)
        batches = tables * -math.expm1(-missed / tables) + math.exp(-missed)
        return missed, batches, min(batch_size, together * moments / batches)

    def length(cycle_s: float) -> float:
        _, batches, rows = look(cycle_s)
        return rhythm.blind_s + (batches - 1) * rhythm.batch_s + batches * rows * rhythm.row_s

    low, high = rhythm.blind_s, length(math.inf) if rate else rhythm.blind_s
    for _ in range(60):  # the length grows with itself, ever more slowly: one crossing
        middle = (low + high) / 2
        low, high = (middle, high) if length(middle) > middle else (low, middle)
    missed, batches, rows = look(high)
    passes = refreshes_per_s / (rows * batches)
    never = math.exp(-missed)
    # Nothing due: a dispatcher asks again when its pause is over. Several wake for the same row, and one gets it.
    free = max(1.0, dispatchers - passes * high)
    polls = 1 / rhythm.poll_s if not rate else passes * never / math.expm1(min(700.0, rate * rhythm.poll_s))
    empty = (dispatchers if not rate else free) * polls + passes * never * (free - 1)
    return Fill(
        rows_per_batch=rows,
        batches_per_s=refreshes_per_s / rows,
        claims_per_s=tables * (passes + empty),
        cycle_s=high,
        waits_s=high / dispatchers / 2 * missed / (missed + never) if rate else 0.0,
    )
