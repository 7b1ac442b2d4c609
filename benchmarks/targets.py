"""Targets of the project, and the figures that are compared with them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any

from benchmarks.results import Results
from benchmarks.section import Table

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """One target: `figure` reads the number from the figures of a case, `limit` is its upper or lower bound."""

    name: str
    case: str
    figure: Callable[[Figures], float]
    limit: float
    unit: str = ""
    is_lower_bound: bool = False

    def shown(self, value: float) -> str:
        """Write a value in the unit of the target."""
        digits = 0 if value >= 100 or value == round(value) else 1 if value >= 10 else 2
        return f"{value:,.{digits}f}{self.unit}"

    def row(self, results: Results) -> list[str]:
        """Write the target beside the measured value; quick runs do not measure all of them."""
        wanted = f"{'≥' if self.is_lower_bound else '≤'} {self.shown(self.limit)}"
        try:
            value = float(self.figure(results.results[self.case].section.figures))
        except KeyError:
            return [self.name, wanted, "not measured", ""]
        is_met = value >= self.limit if self.is_lower_bound else value <= self.limit
        return [self.name, wanted, self.shown(value), "met" if is_met else "**missed**"]


def figure(*path: str) -> Callable[[Figures], float]:
    """Return the reader of a figure by its path."""
    return lambda figures: reduce(getitem, path, figures)  # type: ignore[return-value, arg-type]


RATE = "refresh rate, a dispatcher and a worker of 2 processes, over one bare loop; a server with jemalloc"
COST = "processor time a row over that of the bare loop"
ROUND_TRIPS = ("idle", "a dispatcher", "round_trips")
PROCESSOR = ("idle", "a dispatcher", "processor_percent")

TARGETS = (
    Target(RATE, "throughput", figure("beside_bare_jemalloc", "rate"), 1, "×", is_lower_bound=True),
    Target(COST, "throughput", figure("beside_bare", "processor"), 1.5, "×"),
    Target(f"{COST}; with jemalloc", "throughput", figure("beside_bare_jemalloc", "processor"), 1.5, "×"),
    Target("lateness at 1,000 due rows/s, p50", "lateness", figure("rowcache_tasks", "1000", "p50"), 2.5, " ms"),
    Target("lateness at 1,000 due rows/s, p99", "lateness", figure("rowcache_tasks", "1000", "p99"), 5, " ms"),
    Target(
        "promise of 2 s at 99.9 %, 20,000 rows: refreshes over 1 / max_staleness",
        "promise",
        figure("20000", "refreshes"),
        1.15,
        "×",
    ),
    Target("`RowCache.get` over a bare GET and decode", "reading", figure("one", "RowCache.get", "ratio"), 1.02, "×"),
    Target(
        "`RowCache.get_many` over MGET and decode", "reading", figure("many", "RowCache.get_many", "ratio"), 1.12, "×"
    ),
    Target("longest call of a script, values of 20 KB included", "scale", figure("longest_call_ms"), 2, " ms"),
    Target("claim at 10 million rows over one at 10 thousand", "scale", figure("10000000", "claim_ratio"), 1.3, "×"),
    Target("memory of a row beyond its value", "scale", figure("10000000", "bytes_per_row"), 230, " bytes"),
    Target("idle dispatcher: round trips to Redis", "idle", figure(*ROUND_TRIPS), 25, "/s"),
    Target("idle dispatcher: processor time", "idle", figure(*PROCESSOR), 1, " % of a core"),
    Target("round trips of the worker for a full batch", "idle", figure("round_trips"), 2),
)


def table(results: Results) -> Table:
    """Compare the targets with the results."""
    return Table(["target", "wanted", "measured", ""], [target.row(results) for target in TARGETS])
