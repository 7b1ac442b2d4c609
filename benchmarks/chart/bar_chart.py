"""Own the chart of horizontal bars: a median each, the range of the repetitions as a whisker."""

from benchmarks.chart.axis import Axis, tick_text, value_text
from benchmarks.chart.drawing import WIDTH, Drawing, text_width, wrapped
from benchmarks.section import Bar, Bars

LABEL_WIDTH = 260.0
TOP = 58.0
THICK = 14.0


def draw_bars(chart: Bars) -> Drawing:
    """Draw the bars in their order, ours in the accent colour."""
    if not chart.bars:
        raise ValueError(f"the chart {chart.name} has no bars")
    labels = [wrapped(bar.label, LABEL_WIDTH) for bar in chart.bars]
    rows = [max(26.0, 17.0 * len(lines) + 8) for lines in labels]
    bottom = TOP + sum(rows)
    left = max(24.0, 12 + max(text_width(line) for lines in labels for line in lines))
    right = WIDTH - 10 - max(text_width(value_text(bar.value)) for bar in chart.bars)
    axis = Axis.of(reach(chart.bars), left, right, chart.is_logarithmic)
    drawing = Drawing(bottom + 26, chart.title, describe(chart))
    drawing.write(0, 18, chart.title, "title")
    scale = ", logarithmic scale" if chart.is_logarithmic else ""
    drawing.write(0, 38, f"{chart.unit}{scale}{'; median and range' if has_range(chart) else ''}")
    for tick in axis.ticks:
        drawing.line(axis.at(tick), TOP, axis.at(tick), bottom, "grid")
        drawing.write(axis.at(tick), bottom + 18, tick_text(tick), anchor="middle")
    top = TOP
    for bar, lines, height in zip(chart.bars, labels, rows, strict=True):
        draw_bar(drawing, axis, bar, lines, top + height / 2)
        top += height
    return drawing


def draw_bar(drawing: Drawing, axis: Axis, bar: Bar, lines: list[str], middle: float) -> None:
    """Draw one bar with its label, its range and its value."""
    emphasis = "text mine" if bar.is_ours else "text"
    for number, line in enumerate(lines):
        drawing.write(axis.start - 8, middle + 4.5 + 17 * (number - (len(lines) - 1) / 2), line, emphasis, "end")
    end = axis.at(bar.value)
    drawing.bar(axis.start, middle - THICK / 2, max(1.0, end - axis.start), THICK, "ours" if bar.is_ours else "other")
    if bar.low < bar.high:
        low, high = axis.at(bar.low), axis.at(bar.high)
        drawing.line(low, middle, high, middle, "whisker")
        for x in (low, high):
            drawing.line(x, middle - 4, x, middle + 4, "whisker")
        end = max(end, high)
    drawing.write(end + 6, middle + 4.5, value_text(bar.value), emphasis)


def reach(bars: list[Bar]) -> list[float]:
    """Give the numbers that the axis has to hold; half of the least, so that on a logarithmic one no bar is a dot."""
    found = [number for bar in bars for number in (bar.value, bar.low, bar.high)]
    return [*found, 0.5 * min(found)]


def has_range(chart: Bars) -> bool:
    """Tell whether any bar has a range."""
    return any(bar.low < bar.high for bar in chart.bars)


def describe(chart: Bars) -> str:
    """Say in words what the chart shows."""
    values = (f"{bar.label} {value_text(bar.value)}" for bar in chart.bars)
    return f"Bars, {chart.unit}: {'; '.join(values)}."
