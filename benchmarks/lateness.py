"""Own what a window of time says about lateness: refreshes that were done, and those that are still waited for.

Knows nothing of how it is observed.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Lateness:
    """The refreshes that were due in a window."""

    asked: float
    """How many refreshes the intervals of the rows ask for in the window."""
    done: list[tuple[float, float]] = field(default_factory=list)
    """Of each refresh that was done: when it was committed, in seconds from the start of the window, and how late."""
    waiting: list[float] = field(default_factory=list)
    """Of each refresh that was due and not done in the end: how late it was by then; it became even later."""
    unclear: int = 0
    """Refreshes of rows that were refreshed more than once between two looks: their due times are not known."""

    @property
    def share(self) -> float:
        """The share of what the intervals ask for that was done. A little below 1 when rows are late at all.

        The next refresh is due an interval after this one, and not after the time at which this one was due.
        """
        return (len(self.done) + self.unclear) / self.asked

    @property
    def most(self) -> float:
        """The seconds of the one that was latest."""
        return max(*(late_s for _, late_s in self.done), *self.waiting, 0.0, 0.0)

    def percentile(self, share: float) -> tuple[float, bool]:
        """Give the seconds that `share` of the refreshes kept, and whether this is only the least that it can be."""
        late = sorted([late_s for _, late_s in self.done] + self.waiting)
        if not late:
            return math.nan, False
        found = late[min(len(late) - 1, math.ceil(share * len(late)) - 1)]
        return found, bisect_right(sorted(self.waiting), found) > 0

    def course(self, step_s: float) -> tuple[list[float], list[float]]:
        """Give the course of time: for each step of the window, its end and the median lateness of its commits."""
        steps: dict[int, list[float]] = defaultdict(list)
        for at, late_s in self.done:
            steps[int(at // step_s)].append(late_s)
        numbers = sorted(steps)
        return [(number + 1) * step_s for number in numbers], [median(steps[number]) for number in numbers]
