"""Form of a result: the tables, charts and figures of one case."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class Table:
    """Table of the report. Cells are texts in their unit, rounded."""

    columns: list[str]
    rows: list[list[str]]
    caption: str = ""


@dataclass
class Series:
    """Bar of a chart (one y with the range low to high), or line of a chart (an x for each y)."""

    label: str
    y: list[float]
    x: list[float] = field(default_factory=list)
    low: float = 0.0
    high: float = 0.0
    is_ours: bool = False


@dataclass
class Chart:
    """Chart of horizontal bars or of lines. `name` is the name of its file, `log` its logarithmic axes."""

    name: str
    title: str
    kind: Literal["bars", "lines"]
    y_unit: str
    series: list[Series]
    x_unit: str = ""
    log: str = ""


@dataclass
class Section:
    """Result of one case. `figures` are the numbers behind the texts."""

    name: str
    """Name of the case on the command line, and of its place in a page."""
    title: str
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
