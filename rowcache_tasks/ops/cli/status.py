"""Command status: cells, notes and JSON; once, or again with --watch."""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import click
import msgspec
import redis

from rowcache_tasks.errors.text import align, one_line, show_count, show_duration, show_text
from rowcache_tasks.ops.cli.access import Access, describe_redis_error, open_access
from rowcache_tasks.ops.cli.command import Seconds, command, json_option, page
from rowcache_tasks.ops.finding import Finding
from rowcache_tasks.ops.overview import Overview, read_overview
from rowcache_tasks.ops.problem import describe_queue, find_problems
from rowcache_tasks.ops.snapshot import Snapshot
from rowcache_tasks.schedule.process import DISPATCHER, WORKER, Process

HEADER = ("TABLE", "SCHEDULED", "OVERDUE", "FOR", "FAILING", "RATE", "LATE P50", "P99")
WIDTHS = (6, 10, 8, 7, 8, 7, 9, 7)
AGES = ("TABLE", "AGE P50", "P99", "P99.9", "OLDEST", "NEVER", "COMMITTED", "LAST")
AGE_WIDTHS = (WIDTHS[0], 8, 7, 7, 8, 10, 10, 7)
COLUMNS = 80
MAX_NAME = 22
"""Both tables have at most COLUMNS columns, with names of up to so many characters. A longer one has its own line."""
NONE = "-"
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Status:
    """All tables at one moment, and the previous one; rates and lateness are those between them."""

    now: Overview
    before: Overview | None  # None: the first
    problems: list[Finding]

    @property
    def clock(self) -> str:
        """The time of day in the time zone of this machine."""
        return time.strftime("%H:%M:%S", time.localtime(self.now.at))

    def as_json(self) -> dict[str, Any]:
        """Return every figure; None: not known."""
        found = self.now
        return {
            "at": found.at,
            "tables": {name: self._figures(table) for name, table in found.tables.items()},
            "queue": found.length(found.names.refresh_queue),
            "dispatchers": [process_as_json(process) for process in found.alive(DISPATCHER)],
            "workers": [process_as_json(process) for process in found.alive(WORKER)],
            "queues": {
                name: {
                    "length": found.length(name),
                    "oldest_s": found.oldest_s(name),
                    "consumers": found.consumers(name),
                }
                for name in found.names.queues
            },
            "problems": [problem.as_json() for problem in self.problems],
        }

    def lines(self) -> list[str]:
        """Return the header, and the line of each table; the first column fits the names of the tables."""
        return self._align([HEADER, *map(self._cells, self.now.tables.values())], WIDTHS)

    def page(self) -> list[str]:
        """Return both tables, and the notes."""
        ages = [AGES, *map(self._age_cells, self.now.tables.values())]
        return [*self.lines(), *self._align(ages, AGE_WIDTHS), *self._notes()]

    def _align(self, rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
        longest = max((len(name) for name, *_ in rows if len(name) <= MAX_NAME), default=0)
        widths = (max(WIDTHS[0], longest + 1), *widths[1:])
        lines = []
        for name, *cells in rows:
            if len(name) > MAX_NAME:
                lines += click.wrap_text(name, COLUMNS).splitlines()
            lines.append(align(["" if len(name) > MAX_NAME else name, *cells], widths))
        return lines

    def _notes(self) -> list[str]:
        """Return the lines below the tables: each problem with its remedy, processes, queues."""
        found = self.now
        alive = [show_count(len(found.alive(kind)), kind) for kind in (DISPATCHER, WORKER)]
        notes = [f"{level.upper():<4}  {one_line(text)}" for level, text in self.problems]
        notes.append(f"alive: {', '.join(alive)}")
        if load := found.describe_load():
            notes.append(f"load: {load}")
        if found.broker_error:
            notes.append(f"queue: unknown: {one_line(found.broker_error, COLUMNS - 16)}")
        elif found.queues is not None:
            notes += [describe_queue(found, name) for name in found.names.queues]
        wrapped = [click.wrap_text(note, COLUMNS, subsequent_indent="      ") for note in notes]
        return "\n".join(wrapped).splitlines()

    def _previous(self, table: Snapshot) -> Snapshot | None:
        return self.before.tables.get(table.table) if self.before else None

    def _figures(self, now: Snapshot) -> dict[str, Any]:
        before, freshness = self._previous(now), self.now.freshness[now.table]
        names = ("scheduled", "overdue", "overdue_s", "waiting_s", "failing", "failing_share", "committed")
        figures = {name: getattr(now, name) for name in (*names, "committed_at", "paused_at")} | {
            "rate": now.rate_since(before),
            "unchanged_share": now.unchanged_share_since(before),
            "late_p50_ms": now.late_ms(before, 0.5),
            "late_p99_ms": now.late_ms(before, 0.99),
            "demand": self.now.loads[now.table].demand,
            "capacity": self.now.loads[now.table].capacity,
            "capped": now.is_capped,
            "stalled": now.is_stalled(self.now.max_overdue_s),
            **freshness.ages,
            "never_refreshed": freshness.never_refreshed,
            **now.counters,
        }
        # A due time of a foreign client may be infinite, which JSON does not have.
        known = {
            name: value if now.is_known and value is not None and math.isfinite(value) else None
            for name, value in figures.items()
        }
        promise = self.now.promises.get(now.table)
        return known | {"error": one_line(now.error) or None, "promise": promise and asdict(promise)}

    def _cells(self, now: Snapshot) -> list[str]:
        if not now.is_known:
            return [show_text(now.table), *[NONE] * (len(HEADER) - 1)]
        before = self._previous(now)
        rate, *late = now.rate_since(before), now.late_ms(before, 0.5), now.late_ms(before, 0.99)
        return [
            show_text(now.table),
            show_number(now.scheduled),
            show_number(now.overdue),
            show_duration(now.overdue_s) if now.overdue else NONE,
            show_number(now.failing),
            NONE if rate is None else f"{rate:,.1f}" if rate < 1000 else f"{rate:,.0f}",
            *(NONE if late_ms is None else show_duration(late_ms / 1000) for late_ms in late),
        ]

    def _age_cells(self, now: Snapshot) -> list[str]:
        if not now.is_known:
            return [show_text(now.table), *[NONE] * (len(AGES) - 1)]
        found = self.now.freshness[now.table]
        return [
            show_text(now.table),
            *(NONE if age is None else show_duration(age) for age in found.ages.values()),
            show_number(found.never_refreshed),
            show_number(now.committed),
            "never" if now.committed_at is None else show_duration(max(0.0, now.at - now.committed_at)),
        ]


def read_status(access: Access, before: Status | None) -> Status:
    """Read Redis in eight round trips, and the broker."""
    now = read_overview(access.client, access.settings, access.broker)
    return Status(now, before.now if before else None, list(find_problems(now)))


def process_as_json(process: Process) -> dict[str, Any]:
    """Return the figures of a process; None: not known."""
    figures = msgspec.structs.asdict(process) | {"batch_at": process.batch_at or None}
    del figures["kind"]
    return figures


def show_number(count: int) -> str:
    """Write a count in at most nine characters: 9,999,999, then 10.0M."""
    if count < 10 * MILLION:
        return f"{count:,}"
    # Whole numbers: a counter of a foreign client may be too large for a float.
    return f"{count // MILLION:,}.{count % MILLION // (MILLION // 10)}M"


HOME, END_OF_LINE, BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


@command("status", "status --watch", "status --json | jq .tables")
@click.option(
    "--watch",
    "interval_s",
    is_flag=False,
    flag_value=2.0,
    type=Seconds(0.1, 3600),
    metavar="[SECONDS]",
    help="Repeat every SECONDS (2) until Ctrl-C; rates and lateness are those since the last time.",
)
@json_option
def status(interval_s: float | None, as_json: bool) -> None:
    """Show the rows, the rate and the lateness of each table."""
    with open_access() as access:
        if interval_s is None:
            found = read_status(access, None)
            print_json(found) if as_json else page(found.page())
            return
        can_redraw = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        show = print_json if as_json else redraw if can_redraw else print_lines
        watch(access, show, partial(time.sleep, interval_s))


def watch(access: Access, show: Callable[[Status], None], wait: Callable[[], None]) -> None:
    """Read and show until Ctrl-C; an error of Redis is printed, and Redis is read again."""
    last: Status | None = None
    try:
        while True:
            try:
                last = read_status(access, last)
            except redis.RedisError as error:
                click.echo(f"rowcache_tasks: {one_line(describe_redis_error(error, access.settings))}", err=True)
            else:
                show(last)
            wait()
    except KeyboardInterrupt:
        return


def redraw(found: Status) -> None:
    """Draw the table over the last one; clearing the screen would flicker."""
    lines = (f"{line}{END_OF_LINE}\n" for line in (found.clock, *found.page()))
    click.echo(f"{HOME}{''.join(lines)}{BELOW}", nl=False, color=True)


def print_lines(found: Status) -> None:
    """Print a line for each table, as for a log, below a header the first time."""
    header, *lines = found.lines()
    if found.before is None:
        click.echo(f"{'TIME':<8}  {header}")
    for line in lines:
        click.echo(f"{found.clock}  {line}")


def print_json(found: Status) -> None:
    """Print an object on one line."""
    click.echo(json.dumps(found.as_json()))
