"""Own the chart of lines: each with marks at its points and its name where it ends."""

from collections.abc import Mapping

from benchmarks.chart.axis import Axis, tick_text, value_text
from benchmarks.chart.drawing import LINE_COLOURS, WIDTH, Drawing, text_width, wrapped
from benchmarks.section import Line, Lines

LABEL_WIDTH = 170.0
TOP, HEIGHT = 60.0, 270.0
LEADING = 17.0
SWATCH = 24.0


def draw_lines(chart: Lines) -> Drawing:
    """Draw the lines, ours over the others and in the accent colour."""
    if not any(line.x for line in chart.lines):
        raise ValueError(f"the chart {chart.name} has no points")
    labels = [wrapped(line.label, LABEL_WIDTH) for line in chart.lines]
    heights = [LEADING * len(lines) + 6 for lines in labels]
    bottom = TOP + max(HEIGHT, sum(heights))
    right = WIDTH - SWATCH - 20 - max(text_width(text) for lines in labels for text in lines)
    y_axis = Axis.of((y for line in chart.lines for y in line.y), bottom, TOP, chart.is_y_logarithmic)
    left = 14 + max(text_width(tick_text(tick)) for tick in y_axis.ticks)
    x_axis = Axis.of((x for line in chart.lines for x in line.x), left, right, chart.is_x_logarithmic)

    drawing = Drawing(bottom + 46, chart.title, describe(chart))
    drawing.write(0, 18, chart.title, "title")
    drawing.write(0, 38, chart.y_unit + (", logarithmic scale" if chart.is_y_logarithmic else ""))
    draw_axes(drawing, x_axis, y_axis, chart)
    styles = styles_of(chart.lines)
    for number in sorted(range(len(styles)), key=lambda number: chart.lines[number].is_ours):
        draw_line(drawing, x_axis, y_axis, chart.lines[number], *styles[number])
    ends = {number: y_axis.at(line.y[-1]) for number, line in enumerate(chart.lines) if line.y}
    for number, y in spread(ends, heights, bottom).items():
        style, shape = styles[number]
        drawing.path([(right + 14, y), (right + 14 + SWATCH, y)], f"line {style}")
        drawing.mark(right + 14 + SWATCH / 2, y, shape, f"mark {style}")
        emphasis = "text mine" if chart.lines[number].is_ours else "text"
        for row, text in enumerate(labels[number]):
            drawing.write(right + 20 + SWATCH, y + 4.5 + LEADING * row, text, emphasis)
    return drawing


def draw_axes(drawing: Drawing, x_axis: Axis, y_axis: Axis, chart: Lines) -> None:
    """Draw the grid and the numbers beside it."""
    for tick in y_axis.ticks:
        drawing.line(x_axis.start, y_axis.at(tick), x_axis.end, y_axis.at(tick), "grid")
        drawing.write(x_axis.start - 10, y_axis.at(tick) + 4.5, tick_text(tick), anchor="end")
    for tick in x_axis.ticks:
        drawing.line(x_axis.at(tick), y_axis.end, x_axis.at(tick), y_axis.start, "grid")
        drawing.write(x_axis.at(tick), y_axis.start + 18, tick_text(tick), anchor="middle")
    scale = ", logarithmic scale" if chart.is_x_logarithmic else ""
    drawing.write((x_axis.start + x_axis.end) / 2, y_axis.start + 38, chart.x_unit + scale, anchor="middle")


def draw_line(drawing: Drawing, x_axis: Axis, y_axis: Axis, line: Line, style: str, shape: int) -> None:
    """Draw one line and its points."""
    points = [(x_axis.at(x), y_axis.at(y)) for x, y in zip(line.x, line.y, strict=True)]
    drawing.path(points, f"line {style}")
    for x, y in points:
        drawing.mark(x, y, shape, f"mark {style}")


def styles_of(lines: list[Line]) -> list[tuple[str, int]]:
    """Give each line a colour and a mark; ours has the accent colour, a second one of ours another mark."""
    styles = []
    ours = others = 0
    for line in lines:
        if line.is_ours:
            styles.append(("line-0", 0 if ours == 0 else 3 + ours))
            ours += 1
        else:
            styles.append((f"line-{1 + others % LINE_COLOURS}", 1 + others))
            others += 1
    return styles


def spread(ends: Mapping[int, float], heights: list[float], bottom: float) -> dict[int, float]:
    """Place each name beside the end of its line, or as near to it as the others leave room for."""
    placed: dict[int, float] = {}
    free = TOP
    for number in sorted(ends, key=lambda number: ends[number]):
        placed[number] = max(ends[number], free)
        free = placed[number] + heights[number]
    limit = bottom + LEADING
    for number in reversed(list(placed)):
        placed[number] = min(placed[number], limit - heights[number])
        limit = placed[number]
    return placed


def describe(chart: Lines) -> str:
    """Say in words what the chart shows."""
    texts = []
    for line in chart.lines:
        points = (f"{value_text(y)} at {value_text(x)}" for x, y in zip(line.x, line.y, strict=True))
        texts.append(f"{line.label}: {', '.join(points)}")
    return f"Lines, {chart.y_unit} over {chart.x_unit}. {'; '.join(texts)}."
