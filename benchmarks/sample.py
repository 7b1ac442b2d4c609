"""Repetitions of a measurement: median, range, ratios round by round."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from benchmarks.progress import say

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Sample:
    """Values of one contender, one for each round."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """Middle value."""
        return median(self.values)

    def over(self, other: "Sample") -> "Sample":
        """Divide by the values of another contender round by round, so that a slow round cancels out."""
        return Sample([mine / theirs for mine, theirs in zip(self.values, other.values, strict=True)])

    def shown(self, form: str = ",.0f") -> str:
        """Write the median and the range: 1,234 (1,200–1,300)."""
        return f"{self.median:{form}} ({min(self.values):{form}}–{max(self.values):{form}})"

    def shown_ratio(self) -> str:
        """Write a ratio and its range: 1.23× (1.20–1.31)."""
        size = self.median
        form = ",.0f" if size >= 20 else ".1f" if size >= 3 else ".2f" if size >= 0.1 else ".3f"
        return f"{size:{form}}× ({min(self.values):{form}}–{max(self.values):{form}})"


def interleave(measures: Mapping[Name, Callable[[], float]], rounds: int) -> dict[Name, Sample]:
    """Measure each contender once a round; each round starts with another one, so that disturbances hit all."""
    names = list(measures)
    values: dict[Name, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            say(f"round {number + 1} of {rounds}: {name}")
            values[name].append(measures[name]())
    return {name: Sample(values[name]) for name in names}
