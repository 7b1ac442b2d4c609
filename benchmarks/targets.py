"""Own what the project wants to reach, and which figure of which case tells whether it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.progress import progress
from benchmarks.results import Results
from benchmarks.section import Table


@dataclass(frozen=True)
class Target:
    """One target: `figure` finds the number in the figures of a section; `limit` is the least or the most of it."""

    what: str
    section: str
    figure: Callable[[Mapping[str, Any]], float]
    limit: float
    unit: str
    is_least: bool = False

    @property
    def wanted(self) -> str:
        """Write the limit."""
        return f"{'≥' if self.is_least else '≤'} {self.shown(self.limit)}"

    def shown(self, value: float) -> str:
        """Write a value in the target's unit."""
        digits = 0 if value >= 100 or value == round(value) else 1 if value >= 10 else 2
        return f"{value:,.{digits}f}{self.unit}"

    def is_met(self, value: float) -> bool:
        """Tell whether a value is what is wanted."""
        return value >= self.limit if self.is_least else value <= self.limit


TARGETS: tuple[Target, ...] = (
    Target(
        "`RowCache.get` over a bare GET and decode", "reading", lambda f: f["one"]["RowCache.get"]["ratio"], 1.15, "×"
    ),
    Target(
        "a hit of the near cache over a bare GET and decode",
        "reading",
        lambda f: 1 / f["one"]["RowCache(near=…).get"]["ratio"],
        20,
        "× faster",
        is_least=True,
    ),
)


def table(results: Results, is_measured: bool = False) -> Table:
    """Compare the targets with what was measured, or only those of cases that were."""
    rows = []
    for target in TARGETS:
        value = find(target, results)
        if is_measured and value is None:
            continue
        verdict = "" if value is None else "met" if target.is_met(value) else "**missed**"
        measured = "not measured yet" if value is None else target.shown(value)
        rows.append([target.what, target.wanted, measured, verdict])
    return Table(["what", "target", "measured", ""], rows)


def find(target: Target, results: Results) -> float | None:
    """Find the figure of a target; None when its case was not measured, or has no such figure."""
    result = results.results.get(target.section)
    if result is None:
        return None
    try:
        return float(target.figure(result.section.figures))
    except (KeyError, IndexError, TypeError, ZeroDivisionError) as error:
        progress.say(f"targets: {target.section} gave no figure for {target.what!r}: {error!r}")
        return None
