"""Display of the demo: a live table in a terminal, else plain lines."""

import time
from typing import Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rowcache_tasks.demo.accounts import accounts_with
from rowcache_tasks.demo.measurement import Measurement

WIDTH = 72
PLAIN_PAUSE_S = 3.0


class PlainView:
    """Plain lines, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._shown_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def say(self, text: str) -> None:
        """Print one line that stays, with the time since the start."""
        stamp = Text(f"{time.monotonic() - self._started:6.1f} s  ", style="dim")
        self._console.print(stamp + Text(text), soft_wrap=True)

    def show(self, now: Measurement, phase: str, hint: str) -> None:
        """Print the figures every few seconds."""
        if time.monotonic() - self._shown_at >= PLAIN_PAUSE_S:
            self._shown_at = time.monotonic()
            self.say(f"{phase}: {one_line(now)}")


class LiveView(PlainView):
    """Table that is redrawn in place, below the lines that stay."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, auto_refresh=False)

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def show(self, now: Measurement, phase: str, hint: str) -> None:
        """Draw the table anew."""
        self._live.start()
        self._live.update(panel(now, phase, hint), refresh=True)


def view_for(console: Console) -> PlainView:
    """Return a live view for a terminal, else a plain one."""
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else PlainView(console)


def panel(now: Measurement, phase: str, hint: str) -> Panel:
    """Draw the figures."""
    body = Group(figures(now), "", ages(now))
    return Panel(
        body,
        title=Text(f" {phase} ", style="bold"),
        title_align="left",
        subtitle=Text(f" {hint} ", style="default"),
        subtitle_align="left",
        border_style="dim",
        box=box.ROUNDED,
        padding=(1, 2),
        width=WIDTH,
    )


def figures(now: Measurement) -> Table:
    """Lay out the counts and rates."""
    grid = Table.grid(padding=(0, 2), expand=True)
    for style, justify in (("dim", "left"), ("", "right"), ("dim", "left"), ("", "right")):
        grid.add_column(style=style, justify=justify, ratio=1)  # type: ignore[arg-type]
    bad = "bold red" if now.failing else ""
    grid.add_row("scheduled", f"{now.scheduled:,} rows", "lateness p50", milliseconds(now.p50_ms))
    grid.add_row("refreshed", f"{now.refreshed_per_s:,.0f}/s", "lateness p99", milliseconds(now.p99_ms))
    grid.add_row("pgbench", per_second(now.tps), "overdue", f"{now.overdue:,} rows")
    grid.add_row("readers", f"{now.rows_read_per_s:,.0f} rows/s", "failures", Text(f"{now.failing:,}", bad))
    return grid


def ages(now: Measurement) -> Table:
    """Lay out how old the values are that readers get."""
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim", pad_edge=False)
    for name in ("refreshed every", "rows", "age read: p50", "p99", "max"):
        table.add_column(name, justify="left" if name == "refreshed every" else "right", min_width=8)
    for delay, found in now.ages.items():
        shown = [f"{age:.1f} s" for age in (found.p50, found.p99, found.max)] if found else ["-"] * 3
        table.add_row(f"{delay:>2} s", f"{len(accounts_with(delay)):,}", *shown)
    return table


def one_line(now: Measurement) -> str:
    """Write the figures as one line."""
    oldest = [f"{found.max:.1f} s of {delay} s" for delay, found in now.ages.items() if found]
    return (
        f"scheduled {now.scheduled:,}, refreshed {now.refreshed_per_s:,.0f}/s, "
        f"lateness p50 {milliseconds(now.p50_ms)} p99 {milliseconds(now.p99_ms)}, "
        f"overdue {now.overdue:,}, failures {now.failing:,}, pgbench {per_second(now.tps)}, "
        f"readers {now.rows_read_per_s:,.0f} rows/s, oldest value read {', '.join(oldest) or '-'}"
    )


def milliseconds(value: float | None) -> str:
    """Write a lateness."""
    return "-" if value is None else f"{value:,.0f} ms"


def per_second(value: float | None) -> str:
    """Write the rate of pgbench; a dash when it does not run."""
    return "-" if value is None else f"{value:,.0f} tps"
