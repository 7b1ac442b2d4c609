import xml.etree.ElementTree as ET

import pytest

from benchmarks.chart import draw
from benchmarks.chart.axis import Axis, tick_text, value_text
from benchmarks.chart.drawing import WIDTH, text_width
from benchmarks.section import Bar, Bars, Line, Lines

SVG = "{http://www.w3.org/2000/svg}"

BARS = Bars(
    "refresh",
    "Rows & rates",
    "rows a second",
    [
        Bar("ours", 91_234.0, 80_000.0, 95_000.0, is_ours=True),
        Bar(
            "two loops < in parallel: " + "no schedule and none of the guarantees, " * 3 + "so",
            99_000.0,
            90_000.0,
            103_000.0,
        ),
        Bar("daemon", 1_290.0, 1_290.0, 1_290.0),
    ],
)
LINES = Lines(
    "lateness",
    "Lateness",
    "rows due a second",
    "ms",
    [
        Line("ours", [100, 1_000, 10_000], [3.0, 4.0, 9.5], is_ours=True),
        Line("the book's daemon", [100, 1_000, 10_000], [9.0, 20_000.0, 50_000.0]),
        Line("beat", [100], [900.0]),
    ],
)


def texts(svg):
    return [(element.text, element) for element in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("is_logarithmic", [False, True])
def test_bars_show_every_label_and_value(is_logarithmic):
    BARS.is_logarithmic = is_logarithmic

    words = " ".join(text for text, _ in texts(draw(BARS)))

    assert BARS.title in words
    assert "rows a second" in words
    for bar in BARS.bars:
        assert bar.label in words
        assert f"{bar.value:,.0f}" in words


@pytest.mark.parametrize("is_logarithmic", [False, True])
def test_lines_show_every_label_and_both_units(is_logarithmic):
    LINES.is_x_logarithmic = LINES.is_y_logarithmic = is_logarithmic

    words = " ".join(text for text, _ in texts(draw(LINES)))

    for label in ("ours", "the book's daemon", "beat", "rows due a second", "ms", LINES.title):
        assert label in words


@pytest.mark.parametrize("chart", [BARS, LINES], ids=["bars", "lines"])
def test_no_text_is_cut_off(chart):
    for text, element in texts(draw(chart)):
        width = text_width(text, 15 if element.get("class") == "title" else 13)
        x = float(element.get("x"))
        left = x - {"start": 0, "middle": width / 2, "end": width}[element.get("text-anchor")]
        assert left >= -0.5, text
        assert left + width <= WIDTH + 0.5, text


@pytest.mark.parametrize("chart", [BARS, LINES], ids=["bars", "lines"])
def test_chart_is_described_in_words(chart):
    root = ET.fromstring(draw(chart))

    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == chart.title
    assert "ours" in root.find(f"{SVG}desc").text


def test_names_of_lines_that_end_together_are_written_below_each_other():
    lines = [Line(f"line {number}", [0, 1], [number, 10.0]) for number in range(20)]

    rows = [
        float(element.get("y")) for text, element in texts(draw(Lines("x", "X", "a", "b", lines))) if "line" in text
    ]

    assert len(rows) == 20
    assert all(later - earlier >= 16 for earlier, later in zip(sorted(rows), sorted(rows)[1:], strict=False))


@pytest.mark.parametrize("chart", [Bars("none", "", "", []), Lines("none", "", "", "", [])], ids=["bars", "lines"])
def test_chart_without_anything_to_show_is_refused(chart):
    with pytest.raises(ValueError, match="none has no"):
        draw(chart)


@pytest.mark.parametrize(
    ("values", "is_logarithmic", "ticks"),
    [
        ([3.0, 96.0], False, ["0", "20", "40", "60", "80"]),
        ([0.013], False, ["0", "0.005", "0.01"]),
        ([3.0, 400.0], True, ["2", "5", "10", "20", "50", "100", "200", "500"]),
        ([700.0, 9e4], True, ["500", "1k", "2k", "5k", "10k", "20k", "50k", "100k"]),
        ([0.02, 3e6], True, ["0.1", "1", "10", "100", "1k", "10k", "100k", "1M"]),
        ([5.0, 5.0], True, ["5", "10"]),
        ([0.0, 0.0], False, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ([0.0], True, ["0.1", "0.2", "0.5", "1"]),
    ],
)
def test_ticks_are_round_numbers(values, is_logarithmic, ticks):
    axis = Axis.of(values, 0, 100, is_logarithmic)

    assert [tick_text(tick) for tick in axis.ticks] == ticks
    assert all(0 <= axis.at(value) <= 100 for value in [*values, *axis.ticks])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01234, "0.0123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (12_345.6, "12,346")],
)
def test_values_have_three_digits(value, text):
    assert value_text(value) == text
