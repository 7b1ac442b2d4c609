"""Own what a deployment is to do: rows, intervals, sizes, readers."""

import math
import re
from dataclasses import dataclass, replace

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.text import shorten

__all__ = ["Group", "Workload", "check_number", "parse_group"]

GROUP = re.compile(r"([0-9.]+)([kM]?)@([0-9.]+)")
MULTIPLES = {"": 1, "k": 1_000, "M": 1_000_000}

LEAST, MOST = 1e-9, 1e12
"""Numbers beyond are meant by nobody, and what is computed from them may be infinite."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are refreshed on the same interval."""

    rows: float
    every_s: float
    """Seconds between two refreshes of a row; MOST at most, whatever a foreign client has written."""

    def __post_init__(self) -> None:
        check_number("rows of a group", self.rows, above=0)
        check_number("interval of a group, in seconds", self.every_s, above=0, most=math.inf)
        object.__setattr__(self, "every_s", min(self.every_s, MOST))


@dataclass(frozen=True, slots=True)
class Workload:
    """What is to be done. Raises ArgumentError for numbers that cannot be meant."""

    groups: tuple[Group, ...]
    row_bytes: float = 300.0
    """JSON of a row, on average; bytes."""
    changed_share: float = 1.0
    """Of the refreshes, how many find another value than the cache has; 0 to 1."""
    gets_per_s: float = 0.0
    """GETs of all readers together that reach Redis."""
    tables: int = 1
    """Entries of rowcache_tables: a dispatcher asks for the due rows of each."""
    together: float = 1.0
    """Rows of a table that are due at the same moment, on average: those that were claimed together stay together."""

    def __post_init__(self) -> None:
        if not self.groups:
            raise ArgumentError("there are no rows: give at least one group, like 1000000@60")
        check_number("bytes of JSON of a row", self.row_bytes, above=0)
        check_number("share of refreshes that find a change", self.changed_share, low=0, high=1)
        check_number("GETs a second", self.gets_per_s, low=0)
        check_number("number of tables", self.tables, low=1)
        check_number("rows due at the same moment", self.together, low=1)

    @property
    def rows(self) -> float:
        """All rows."""
        return sum(group.rows for group in self.groups)

    @property
    def refreshes_per_s(self) -> float:
        """Refreshes a second."""
        return sum(group.rows / group.every_s for group in self.groups)

    @property
    def longest_s(self) -> float:
        """The longest interval; seconds."""
        return max(group.every_s for group in self.groups)

    def times(self, factor: float) -> "Workload":
        """Give so many times the load: rows and GETs."""
        groups = tuple(replace(group, rows=group.rows * factor) for group in self.groups)
        return replace(self, groups=groups, gets_per_s=self.gets_per_s * factor)


def parse_group(text: str) -> Group:
    """Read ROWS@SECONDS: 1000000@60, 10k@1.5, 1M@60. Raises ArgumentError."""
    match = GROUP.fullmatch(text)
    try:
        if match and float(match[3]) <= MOST:
            return Group(float(match[1]) * MULTIPLES[match[2]], float(match[3]))
    except ValueError:
        pass
    raise ArgumentError(
        f"rows are {shorten(text)}: give ROWS@SECONDS, both above 0, like 1000000@60, 1M@60 or 500@0.5, "
        f"and {MOST:g} at most"
    ) from None


def check_number(
    name: str,
    value: float,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    most: float = MOST,
) -> None:
    """Raise ArgumentError for a number that is not finite, out of range, or of a size that cannot be meant."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value != value or abs(value) == math.inf:  # noqa: PLR0124 NaN; an int may be too large for isnan
        raise ArgumentError(f"{name} is {shorten(value)}: it must be a finite number")
    shown = f"{value:g}" if abs(value) <= MOST or isinstance(value, float) else shorten(value)
    if not low <= value <= high or value <= above:
        lower = f"{low:g} or more" if above < low else f"above {above:g}"
        bound = f"from {low:g} to {high:g}" if high < math.inf else lower
        raise ArgumentError(f"{name} is {shown}: it must be {bound}")
    least = max(low, LEAST if above == 0 else above)
    if not least <= value <= most:
        raise ArgumentError(f"{name} is {shown}: it must be from {least:g} to {most:g}")
