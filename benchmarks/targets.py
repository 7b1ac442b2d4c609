"""Own what the project wants to reach, and which figure of which case tells whether it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
        "refresh rate, dispatcher and a worker of 2 processes, over one bare loop",
        "throughput",
        lambda f: f["faster_by"]["bare loop"],
        1,
        "×",
        is_least=True,
    ),
    Target(
        "the same over the book's daemon",
        "throughput",
        lambda f: f["faster_by"]["the book's daemon"],
        40,
        "×",
        is_least=True,
    ),
    Target(
        "the same over Celery with a task for each row",
        "throughput",
        lambda f: f["faster_by"]["Celery, a task a row"],
        40,
        "×",
        is_least=True,
    ),
    Target(
        "the same over the fastest other alternative",
        "throughput",
        lambda f: f["faster_than_all_others_by"],
        1,
        "×",
        is_least=True,
    ),
    Target("lateness at 1,000 due rows/s, p50", "lateness", lambda f: f["ours"]["1000"]["p50_ms"], 5, " ms"),
    Target("lateness at 1,000 due rows/s, p99", "lateness", lambda f: f["ours"]["1000"]["p99_ms"], 20, " ms"),
    Target(
        "a claim with 10 million rows scheduled, over one with 10 thousand",
        "scale",
        lambda f: f["10000000"]["claim_ratio"],
        1.3,
        "×",
    ),
    Target(
        "Redis's memory for a row beyond its value, 10 million rows",
        "scale",
        lambda f: sum(f["10000000"]["bytes_per_row"][key] for key in ("schedule:", "delay:", "refreshed:", "changed:")),
        300,
        " bytes",
    ),
    Target("the longest call of a script", "scale", lambda f: max(f["longest_ms"].values()), 5, " ms"),
    Target(
        "idle dispatcher: round trips to Redis",
        "idle",
        lambda f: f["idle"]["a dispatcher"]["round_trips"],
        25,
        "/s",
    ),
    Target(
        "idle dispatcher: processor time",
        "idle",
        lambda f: f["idle"]["a dispatcher"]["processor_percent"],
        1,
        " % of a core",
    ),
    Target("`RowCache.get` over a bare GET and decode", "reading", lambda f: f["get_over_bare"], 1.15, "×"),
    Target(
        "a hit of the near cache over a bare GET and decode",
        "reading",
        lambda f: f["near_times_faster"],
        20,
        "× as fast",
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
    """Find the figure of a target; None when its case was not measured, or has no such figure, as in a quick run."""
    result = results.results.get(target.section)
    try:
        return None if result is None else float(target.figure(result.section.figures))
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
        return None


def lost(results: Results) -> list[str]:
    """Name the targets whose case was measured in full and gave no figure for them all the same."""
    whole = {name for name, result in results.results.items() if not result.run["is_quick"]}
    return [target.what for target in TARGETS if target.section in whole and find(target, results) is None]
