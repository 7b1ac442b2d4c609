"""Display of the demo: a live table in a terminal, else plain lines."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.accounts import accounts_with
from demo.measurement import Measurement

WIDTH = 72
PLAIN_PAUSE_S = 3.0


class View:
    """Lines that stay and, below them in a terminal, a table that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)
        self._started = time.monotonic()
        self._shown_at = 0.0

    def say(self, text: str) -> None:
        """Print one line that stays, with the time since the start."""
        stamp = Text(f"{time.monotonic() - self._started:6.1f} s  ", style="dim")
        self._console.print(stamp + Text(text), soft_wrap=True)

    def show(self, now: Measurement, tps: float | None, phase: str, hint: str) -> None:
        """Draw the figures anew, or print them every few seconds. `tps`: of pgbench; None: it does not run."""
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live.start()
            self._live.update(panel(now, tps, phase, hint), refresh=True)
        elif time.monotonic() - self._shown_at >= PLAIN_PAUSE_S:
            self._shown_at = time.monotonic()
            oldest = [f"{found.max:.1f} s of {delay} s" for delay, found in now.ages.items() if found]
            values = ", ".join(f"{name} {value}" for name, value in figures(now, tps).items())
            self.say(f"{phase}: {values}, oldest value read {', '.join(oldest) or '-'}")

    def stop(self) -> None:
        """Leave the last table on the screen, above later lines."""
        self._live.stop()


def panel(now: Measurement, tps: float | None, phase: str, hint: str) -> Panel:
    """Draw the figures, and how old the values are that readers get; a red border if rows fail."""
    grid = Table.grid(padding=(0, 2), expand=True)
    for _ in range(2):
        grid.add_column(style="dim", ratio=1)
        grid.add_column(justify="right", ratio=1)
    cells = list(figures(now, tps).items())
    for left, right in zip(cells[:4], cells[4:], strict=True):
        grid.add_row(*left, *right)
    return Panel(
        Group(grid, "", ages(now)),
        title=Text(f" {phase} ", style="bold"),
        title_align="left",
        subtitle=Text(f" {hint} ", style="default"),
        subtitle_align="left",
        border_style="red" if now.now.table.failing else "dim",
        padding=(1, 2),
        width=WIDTH,
    )


def figures(now: Measurement, tps: float | None) -> dict[str, str]:
    """Write the counts and rates."""
    table = now.now.table
    return {
        "scheduled": f"{table.scheduled:,} rows",
        "refreshed": f"{now.refreshed_per_s:,.0f}/s",
        "pgbench": "-" if tps is None else f"{tps:,.0f} tps",
        "readers": f"{now.rows_read_per_s:,.0f} rows/s",
        "lateness p50": milliseconds(now.late_ms(0.50)),
        "lateness p99": milliseconds(now.late_ms(0.99)),
        "overdue": f"{table.overdue:,} rows",
        "failures": f"{table.failing:,}",
    }


def ages(now: Measurement) -> Table:
    """Lay out the ages of the values that readers get."""
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim", pad_edge=False)
    for name in ("refreshed every", "rows", "age read: p50", "p99", "max"):
        table.add_column(name, justify="left" if name == "refreshed every" else "right", min_width=8)
    for delay, found in now.ages.items():
        shown = [f"{age:.1f} s" for age in found] if found else ["-"] * 3
        table.add_row(f"{delay:>2} s", f"{len(accounts_with(delay)):,}", *shown)
    return table


def milliseconds(value: float | None) -> str:
    """Write a lateness."""
    return "-" if value is None else f"{value:,.0f} ms"
