"""Draws charts as SVG by hand: no font, program or package has to be there, and the text stays text.

The colours follow the reader's choice of light or dark, the background is the page's.
"""

from benchmarks.chart.bar_chart import draw_bars
from benchmarks.chart.line_chart import draw_lines
from benchmarks.section import Bars, Lines


def draw(chart: Bars | Lines) -> str:
    """Give the SVG of a chart. Raises ValueError when it has nothing to show."""
    drawing = draw_bars(chart) if isinstance(chart, Bars) else draw_lines(chart)
    return drawing.text()


__all__ = ["draw"]
