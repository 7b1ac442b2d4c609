"""Own how a reading looks as text: aligned columns, so that successive readings line up. Must not know Redis."""

import time
from collections.abc import Sequence

from rowcache_tasks.ops.cli.reading import Reading, TableReading
from rowcache_tasks.text import show_duration, show_text

__all__ = ["HEADER", "clock", "lay_out", "notes", "rows"]

NONE = "-"
HEADER = (
    "TABLE",
    "SCHEDULED",
    "OVERDUE",
    "FOR",
    "FAILING",
    "COMMITTED",
    "PER SECOND",
    "LATE P50",
    "P99",
    "LAST COMMIT",
)
WIDTHS = (12, 11, 8, 7, 8, 12, 10, 8, 7, 13)
"""At least; a longer value moves only its own line."""


def rows(reading: Reading) -> list[list[str]]:
    """Give the cells of each table."""
    return [row(name, table) for name, table in reading.tables.items()]


def row(name: str, table: TableReading) -> list[str]:
    """Give the cells of one table."""
    now = table.now
    p50, p99 = table.late_ms(0.5), table.late_ms(0.99)
    return [
        show_text(name),
        f"{now.scheduled:,}",
        f"{now.overdue:,}",
        show_duration(now.overdue_s) if now.overdue else NONE,
        f"{now.failing:,}",
        f"{now.committed:,}",
        NONE if table.rate is None else f"{table.rate:,.1f}",
        NONE if p50 is None else show_duration(p50 / 1000),
        NONE if p99 is None else show_duration(p99 / 1000),
        "never" if now.committed_at is None else f"{show_duration(max(0.0, now.at - now.committed_at))} ago",
    ]


def lay_out(cells: Sequence[str]) -> str:
    """Join cells into a line: the name to the left, numbers to the right."""
    first, *others = cells
    return "  ".join(
        [first.ljust(WIDTHS[0]), *(cell.rjust(width) for cell, width in zip(others, WIDTHS[1:], strict=True))]
    )


def notes(reading: Reading, queue: str) -> list[str]:
    """Say below the table what a person should not have to conclude from it."""
    found = [
        f"STALLED  {table.health.describe()}: `rowcache doctor` tells more"
        for table in reading.tables.values()
        if table.is_stalled
    ]
    found += [
        f"PAUSED  {table.health.describe()}: `rowcache resume {show_text(name)}` lets it go on"
        for name, table in reading.tables.items()
        if table.health.paused_s is not None
    ]
    failing = [name for name, table in reading.tables.items() if table.now.failing]
    if failing:
        found.append(f"failing rows: `rowcache errors {show_text(failing[0])}` tells why")
    return [*found, *([queue] if queue else [])]


def clock(reading: Reading) -> str:
    """Write the time of the reading as this machine's clock on the wall would show it."""
    return time.strftime("%H:%M:%S", time.localtime(reading.at))
