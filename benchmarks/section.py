"""Own the form of a result: what a case gives, what results.json holds and what the report draws.

Knows nothing of how things are measured or drawn.
"""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Table:
    """A table of the report; cells are texts, already in their unit and with the digits that they deserve."""

    columns: list[str]
    rows: list[list[str]]
    caption: str = ""


@dataclass
class Bar:
    """One bar of a chart: a median and the range of the repetitions."""

    label: str
    value: float
    low: float
    high: float
    is_ours: bool = False


@dataclass
class Bars:
    """A chart of horizontal bars, in the order given. `name` is the name of its file."""

    name: str
    title: str
    unit: str
    bars: list[Bar]
    is_logarithmic: bool = False


@dataclass
class Line:
    """One line of a chart: x and y, one for each point."""

    label: str
    x: list[float]
    y: list[float]
    is_ours: bool = False


@dataclass
class Lines:
    """A chart of lines. `name` is the name of its file."""

    name: str
    title: str
    x_unit: str
    y_unit: str
    lines: list[Line]
    is_x_logarithmic: bool = False
    is_y_logarithmic: bool = False


@dataclass
class Section:
    """What one case found. The report has one heading for each; `figures` are the numbers behind the texts."""

    name: str
    """As on the command line, and in the markers of the page that it is put into."""
    title: str
    tables: list[Table] = field(default_factory=list)
    bars: list[Bars] = field(default_factory=list)
    lines: list[Lines] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Give what json can write."""
        return asdict(self)

    @classmethod
    def from_json(cls, held: dict[str, Any]) -> "Section":
        """Give the section of which as_json() gave this."""
        return cls(
            name=held["name"],
            title=held["title"],
            tables=[Table(**table) for table in held["tables"]],
            bars=[Bars(**bars | {"bars": [Bar(**bar) for bar in bars["bars"]]}) for bars in held["bars"]],
            lines=[Lines(**lines | {"lines": [Line(**line) for line in lines["lines"]]}) for lines in held["lines"]],
            figures=held["figures"],
        )
