"""Own how full batches are: the dispatcher's loop as a formula.

After a batch a dispatcher cannot claim for a while: it sends, and pauses when the batch was not full. What becomes due
meanwhile is in the next batch. So the fuller the batches, the more rows there are to be refreshed. The pause is longer
for each batch that no worker has started yet: workers that are busy get fuller batches, too.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Fill", "Rhythm", "count_behind", "fill_batches"]

Start = Callable[[float, float], float]
"""Takes batches a second and their rows; gives how long after its claim a worker process starts a batch, seconds."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The loop of a dispatcher; seconds of the clock."""

    pass_s: float
    """From a claim that found rows until the pause, with a batch of no rows in one table."""
    row_s: float
    """Longer for each row of the batches."""
    linger_s: float
    """The pause after a batch that was not full, and once more for each batch that nobody has started."""
    poll_s: float
    """A dispatcher looks what is due in all tables at least so often."""
    batch_s: float = 0.0
    """Part of pass_s that is spent again for each other table with due rows: to claim and to send."""


@dataclass(frozen=True, slots=True)
class Fill:
    """What a second looks like."""

    rows_per_batch: float
    batches_per_s: float
    looks_per_s: float
    """How often dispatchers look what is due, or wake for rows that another one has claimed."""
    cycle_s: float = 0.0
    """From a claim of a dispatcher to its next, when rows wait."""
    waits_s: float = 0.0
    """How long a row waits for a dispatcher that can claim it, on average."""


def fill_batches(
    refreshes_per_s: float,
    batch_size: int,
    rhythm: Rhythm,
    *,
    dispatchers: int = 1,
    tables: int = 1,
    together: float = 1.0,
    start: Start = lambda *_: 0.0,
) -> Fill:
    """Give how full batches are, for rows that are due at moments that have nothing to do with each other.

    `together`: rows of a table that are due at the same moment. While no dispatcher can claim, `missed` moments come;
    when none comes, one is waited for: their number is then 1. That is missed + exp(-missed) on average.
    """
    if not refreshes_per_s:
        return Fill(1.0, 0.0, dispatchers / rhythm.poll_s)
    cycle = Cycle(refreshes_per_s, batch_size, rhythm, dispatchers, tables, min(together, batch_size), start)
    cycle_s = cycle.solve()
    missed, never, batches, rows = cycle.look(cycle_s)
    passes = refreshes_per_s / (rows * batches)
    # Several wake for the same row, and one gets it.
    in_vain = passes * never * max(0.0, dispatchers - passes * cycle_s - 1)
    return Fill(
        rows_per_batch=rows,
        batches_per_s=refreshes_per_s / rows,
        looks_per_s=dispatchers / rhythm.poll_s + in_vain,
        cycle_s=cycle_s,
        waits_s=cycle_s / dispatchers / 2 * missed / (missed + never),
    )


@dataclass(frozen=True, slots=True)
class Cycle:
    """What happens between two claims of a dispatcher, by how long that is; arguments as of fill_batches."""

    refreshes_per_s: float
    batch_size: int
    rhythm: Rhythm
    dispatchers: int
    tables: int
    together: float
    start: Start

    @property
    def moments_per_s(self) -> float:
        """How many moments there are at which rows of a table are due."""
        return self.refreshes_per_s / self.together

    def look(self, cycle_s: float) -> tuple[float, float, float, float]:
        """Give the moments that were missed, the chance of none, the tables with due rows, and the rows of a batch."""
        missed = self.moments_per_s * cycle_s / self.dispatchers
        never = math.exp(-missed)
        batches = self.tables * -math.expm1(-missed / self.tables) + never
        return missed, never, batches, min(self.batch_size, self.together * (missed + never) / batches)

    def length(self, cycle_s: float) -> float:
        """Give how long a cycle is whose batches are those of a cycle of this length; seconds."""
        _, _, batches, rows = self.look(cycle_s)
        per_s, rhythm = self.refreshes_per_s / rows, self.rhythm
        behind = count_behind(per_s * self.start(per_s, rows))
        pause_s = min(rhythm.poll_s, rhythm.linger_s * (1 + behind))
        return rhythm.pass_s + pause_s + (batches - 1) * rhythm.batch_s + batches * rows * rhythm.row_s

    def solve(self) -> float:
        """Give the length that makes itself: longer cycles have fuller batches, which take longer, but ever less so."""
        rhythm = self.rhythm
        low = 0.0
        high = rhythm.pass_s + rhythm.poll_s + self.tables * (rhythm.batch_s + self.batch_size * rhythm.row_s)
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.length(middle) > middle else (low, middle)
        return high


def count_behind(mean: float) -> float:
    """Give how many batches nobody has started yet at a claim, if `mean` of them are there on average.

    Each is there for 0 to twice the mean time, and they come one after another: the last one before a claim is not
    counted when it was started within a cycle.
    """
    if not mean < 1e6:
        return math.inf
    twice = 2 * mean
    whole = math.floor(twice)
    return whole - whole * (whole + 1) / 2 / twice if whole else 0.0
