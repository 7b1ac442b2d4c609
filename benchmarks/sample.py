"""Own what repetitions amount to: the median, the range, and ratios round by round."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from benchmarks.progress import progress

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Sample:
    """The values of one contender, one for each round."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The middle value."""
        return median(self.values)

    @property
    def low(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value."""
        return max(self.values)

    def over(self, other: "Sample") -> "Sample":
        """Divide by another contender's values round by round: what slows a whole round down cancels out."""
        return Sample([mine / theirs for mine, theirs in zip(self.values, other.values, strict=True)])

    def shown(self, form: str = ",.0f") -> str:
        """Write the median and the range: 1,234 (1,200–1,300)."""
        return f"{self.median:{form}} ({self.low:{form}}–{self.high:{form}})"


def interleave(measures: Mapping[Name, Callable[[], float]], rounds: int) -> dict[Name, Sample]:
    """Measure each contender once a round, in an order that turns round, so that whatever else goes on hits all."""
    names = list(measures)
    values: dict[Name, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            progress.step(f"round {number + 1} of {rounds}: {name}")
            values[name].append(measures[name]())
    return {name: Sample(values[name]) for name in names}
