"""Charts as SVG, drawn by matplotlib.

The same figures give the same file.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.section import Chart

OURS, OTHERS = "#c2410c", ("#475569", "#0e7490", "#7c3aed", "#65a30d")
STYLE: Any = {
    "svg.hashsalt": "rowcache_tasks",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
}
WIDTH_IN = 7.5


def draw(chart: Chart, path: Path) -> None:
    """Write a chart to an SVG file."""
    with mpl.rc_context(STYLE):
        height = 1.2 + 0.32 * len(chart.series) if chart.kind == "bars" else 3.6
        figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(chart.title, loc="left")
        (draw_bars if chart.kind == "bars" else draw_lines)(axes, chart)
        # Without a date, and on white, so that it is legible on a dark page.
        figure.savefig(path, format="svg", metadata={"Date": None}, facecolor="white")


def draw_bars(axes: Axes, chart: Chart) -> None:
    """Draw horizontal bars with their ranges, the first one on top."""
    labels = [each.label for each in chart.series]
    values = [each.y[0] for each in chart.series]
    errors = [[max(0.0, value - each.low) for value, each in zip(values, chart.series, strict=True)]]
    errors.append([max(0.0, each.high - value) for value, each in zip(values, chart.series, strict=True)])
    colors = [OURS if each.is_ours else OTHERS[0] for each in chart.series]
    bars = axes.barh(labels, values, xerr=errors, color=colors, ecolor="#94a3b8", capsize=2)
    if "x" in chart.log:
        axes.set_xscale("log")
    texts = [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values]
    axes.bar_label(bars, texts, padding=8)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
    axes.set_xlabel(chart.y_unit)


def draw_lines(axes: Axes, chart: Chart) -> None:
    """Draw lines with a point for each value."""
    others = iter(OTHERS)
    for each in chart.series:
        axes.plot(each.x, each.y, marker="o", label=each.label, color=OURS if each.is_ours else next(others))
    if "x" in chart.log:
        axes.set_xscale("log")
    if "y" in chart.log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
    axes.set_xlabel(chart.x_unit)
    axes.set_ylabel(chart.y_unit)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False)
