"""Own the few lines for those who want to know in a minute whether it is fast: a table of figures from all cases."""

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from benchmarks.results import Results
from benchmarks.section import Table

Figures = Mapping[str, Any]


def refresh(f: Figures) -> list[str]:
    """Sum up the refresh."""
    rate, times = median(f["rows_per_s"]["rowcache_tasks"]), f["faster_by"]
    daemon = times["the book's daemon"]
    return [
        "due rows refreshed, by a dispatcher and a worker of 2 processes",
        f"{rate:,.0f} rows/s",
        f"{times['bare loop']:.2f}× one bare loop of SELECT and MSET, {daemon:,.0f}× the daemon of the book, "
        f"{times['Celery, a task a row']:,.0f}× Celery with a task for each row",
    ]


def lateness(f: Figures) -> list[str]:
    """Sum up how late refreshes are."""
    ours, daemon = f["ours"]["1000"], f["book"]["1000"]
    least = "more than " if daemon["p99_is_least"] else ""
    return [
        "due → written, 1,000 due rows a second",
        f"p50 {ours['p50_ms']:.1f} ms, p99 {ours['p99_ms']:.1f} ms",
        f"the daemon of the book: p50 {daemon['p50_ms']:,.0f} ms, p99 {least}{daemon['p99_ms']:,.0f} ms",
    ]


def scale(f: Figures) -> list[str]:
    """Sum up what grows with the schedule."""
    found = f["10000000"]
    held = sum(found["bytes_per_row"][key] for key in ("schedule:", "delay:", "refreshed:", "changed:"))
    cost = f"a claim costs {found['us']['claim']:.1f} µs of Redis a row, {held:.0f} bytes of memory a row"
    return ["10 million rows scheduled", cost, f"{found['claim_ratio']:.2f}× the cost of a claim at 10 thousand"]


def read(f: Figures) -> list[str]:
    """Sum up a read."""
    ours, database = f["one"]["RowCache.get"], f["one"]["PostgreSQL: psycopg, prepared"]
    return [
        "a row read with `RowCache.get`",
        f"{ours['us']:,.0f} µs",
        f"{f['get_over_bare']:.2f}× the time of a bare GET, {ours['ratio'] / database['ratio']:.2f}× that of a SELECT",
    ]


def read_near(f: Figures) -> list[str]:
    """Sum up a hit of the near cache."""
    near = f["one"]["RowCache(near=…).get"]
    beside = f"{f['near_times_faster']:,.0f}× as fast as a bare GET"
    return ["a row read from the near cache", f"{near['us']:,.1f} µs", beside]


LINES: tuple[tuple[str, Callable[[Figures], list[str]]], ...] = (
    ("throughput", refresh),
    ("lateness", lateness),
    ("scale", scale),
    ("reading", read),
    ("reading", read_near),
)


def table(results: Results) -> Table:
    """Sum up what was measured; a line whose figures are not there is left out."""
    rows = []
    for name, line in LINES:
        if name in results.results:
            try:
                rows.append(line(results.results[name].section.figures))
            except (KeyError, ValueError):
                continue
    return Table(["", "", "beside"], rows)
