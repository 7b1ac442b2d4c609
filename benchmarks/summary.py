"""Summary of all cases: a table of a few lines."""

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from benchmarks.results import Results
from benchmarks.section import Table

Figures = Mapping[str, Any]


def refresh(f: Figures) -> list[str]:
    """Sum up the throughput."""
    rate, faster = median(f["rows_per_s"]["rowcache_tasks"]), f["faster_by"]
    daemon = faster["the book's daemon"]
    return [
        "due rows refreshed, by a dispatcher and a worker of 2 processes",
        f"{rate:,.0f} rows/s",
        f"{faster['bare loop']:.2f}× one bare loop of SELECT and MSET, {daemon:,.0f}× the daemon "
        f"of the book, {faster['Celery, a task a row']:,.0f}× Celery with a task for each row",
    ]


def lateness(f: Figures) -> list[str]:
    """Sum up the lateness."""
    ours, daemon = f["rowcache_tasks"]["1000"], f["the book's daemon"]["1000"]
    bound = "more than " if daemon["waiting"] > 0.01 else ""
    return [
        "due → written, 1,000 due rows a second",
        f"p50 {ours['p50']:.1f} ms, p99 {ours['p99']:.1f} ms",
        f"the daemon of the book: p50 {daemon['p50']:,.0f} ms, p99 {bound}{daemon['p99']:,.0f} ms",
    ]


def scale(f: Figures) -> list[str]:
    """Sum up the growth with the schedule."""
    found = f["10000000"]
    cost = (
        f"a claim costs {found['claim_us']:.1f} µs of Redis a row, {found['bytes_per_row']:.0f} bytes of memory a row"
    )
    return ["10 million rows scheduled", cost, f"{found['claim_ratio']:.2f}× the cost of a claim at 10 thousand"]


def read(f: Figures) -> list[str]:
    """Sum up a read."""
    ours, database = f["one"]["RowCache.get"], f["one"]["PostgreSQL: psycopg, prepared"]
    return [
        "a row read with `RowCache.get`",
        f"{median(ours['us']):,.0f} µs",
        f"{ours['ratio']:.2f}× the time of a bare GET, {ours['ratio'] / database['ratio']:.2f}× that of a SELECT",
    ]


def read_near(f: Figures) -> list[str]:
    """Sum up a hit of the near cache."""
    near = f["near"]["RowCache(near=…).get"]
    beside = f"{1 / near['ratio']:,.0f}× as fast as a bare GET"
    return ["a row read from the near cache", f"{median(near['us']):,.1f} µs", beside]


LINES: tuple[tuple[str, str, Callable[[Figures], list[str]]], ...] = (
    ("throughput", "more", refresh),
    ("lateness", "less", lateness),
    ("scale", "less", scale),
    ("reading", "less", read),
    ("reading", "less", read_near),
)
"""Case, whether more or less of its figure is better, line."""


def table(results: Results) -> Table:
    """Sum up the results; a line without its figures is left out, as that of 10 million rows in a quick run."""
    rows = []
    for name, better, line in LINES:
        if name in results.results:
            try:
                subject, figure, beside = line(results.results[name].section.figures)
            except KeyError:
                continue
            rows.append([subject, figure, better, beside])
    return Table(["", "", "better", "beside"], rows)
