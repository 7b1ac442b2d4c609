"""Own the SVG: its elements, its colours, and how wide a text may become. Knows nothing of charts."""

import xml.etree.ElementTree as ET  # only writes; nothing is parsed

WIDTH = 760.0

# In light and in dark. Texts are readable, if pale, also where a viewer takes the wrong half. The others' colours can
# be told apart without red and green, and each line has a mark of its own.
COLOURS = {
    "text": ("fill", "#57606a", "#9ba4ae"),
    "title": ("fill", "#424a53", "#b6bec7"),
    "grid": ("stroke", "#d0d7de", "#30363d"),
    "whisker": ("stroke", "#424a53", "#c9d1d9"),
    "ours": ("fill", "#388bfd", "#2f7de8"),
    "other": ("fill", "#afb8c1", "#59626c"),
    "line-0": ("stroke", "#0969da", "#388bfd"),
    "line-1": ("stroke", "#bc4c00", "#db6d28"),
    "line-2": ("stroke", "#6e7781", "#8b949e"),
    "line-3": ("stroke", "#8250df", "#a371f7"),
    "line-4": ("stroke", "#1b7c83", "#39c5cf"),
    "line-5": ("stroke", "#bf3989", "#db61a2"),
    "line-6": ("stroke", "#7d4e00", "#bb8009"),
}
LINE_COLOURS = 6
"""Colours of lines that are not ours; more lines begin anew, with other marks."""

STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif }
.title { font-size: 15px; font-weight: 600 }
.mine { font-weight: 600 }
.grid, .whisker, .line, .mark { fill: none; stroke-width: 1 }
.line { stroke-width: 2; stroke-linejoin: round }
.line.line-0 { stroke-width: 3 }
.mark { stroke-width: 2 }
"""

NARROW, WIDE = "iIjlftr.,:;'|!()[] /-", "mwMW@%—…"


def text_width(text: str, size: float = 13) -> float:
    """Estimate the width of a text in pixels, rather too much: the reader's font is not known."""
    ems = (0.42 if c in NARROW else 1.0 if c in WIDE else 0.75 if c.isupper() else 0.645 for c in text)
    return size * sum(ems)


def wrapped(text: str, width: float) -> list[str]:
    """Break a text into lines that fit into so many pixels; a longer word stays whole."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


class Drawing:
    """An SVG of a height in pixels, with what it shows in words for those who do not see it."""

    def __init__(self, height: float, title: str, description: str) -> None:
        box = f"0 0 {WIDTH:g} {height:g}"
        names = {"role": "img", "aria-labelledby": "title description"}
        self._root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": box, **names})
        self._root.set("width", f"{WIDTH:g}")
        self._root.set("height", f"{height:g}")
        ET.SubElement(self._root, "title", {"id": "title"}).text = title
        ET.SubElement(self._root, "desc", {"id": "description"}).text = description
        ET.SubElement(self._root, "style").text = STYLE + colours(1) + dark(colours(2))

    def write(self, x: float, y: float, text: str, style: str = "text", anchor: str = "start") -> None:
        """Write one line of text; y is its base line, anchor start, middle or end is what x says."""
        self._add("text", style, x=x, y=y, text_anchor=anchor).text = text

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        """Draw a straight line."""
        self._add("line", style, x1=x1, y1=y1, x2=x2, y2=y2)

    def bar(self, x: float, y: float, width: float, height: float, style: str) -> None:
        """Fill a box."""
        self._add("rect", style, x=x, y=y, width=width, height=height, rx=2)

    def path(self, points: list[tuple[float, float]], style: str) -> None:
        """Draw a line through points."""
        self._add("polyline", style, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))

    def mark(self, x: float, y: float, shape: int, style: str) -> None:
        """Draw the mark of a point: circle, square, diamond, triangle, cross or plus."""
        arms = [
            "m-3.5,0 a3.5,3.5 0 1 0 7,0 a3.5,3.5 0 1 0 -7,0",
            "m-3,-3 h6 v6 h-6 z",
            "m0,-4.5 l4.5,4.5 l-4.5,4.5 l-4.5,-4.5 z",
            "m0,-4 l4,7 h-8 z",
            "m-3.5,-3.5 l7,7 m-7,0 l7,-7",
            "m-4.5,0 h9 m-4.5,-4.5 v9",
        ]
        self._add("path", style, d=f"M{x:.1f},{y:.1f} {arms[shape % len(arms)]}")

    def text(self) -> str:
        """Give the SVG."""
        ET.indent(self._root, " ")
        return ET.tostring(self._root, encoding="unicode") + "\n"

    def _add(self, tag: str, style: str, **attributes: str | float) -> ET.Element:
        written = {
            name.replace("_", "-"): value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
            for name, value in attributes.items()
        }
        return ET.SubElement(self._root, tag, {"class": style, **written})


def colours(column: int) -> str:
    """Give the rules of one half of the colours."""
    return "".join(f".{name} {{ {rule[0]}: {rule[column]} }}\n" for name, rule in COLOURS.items())


def dark(rules: str) -> str:
    """Say that rules are for those who read in the dark."""
    return f"@media (prefers-color-scheme: dark) {{\n{rules}}}\n"
