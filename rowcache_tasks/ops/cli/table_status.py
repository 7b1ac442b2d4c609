"""Status of all tables, its cells, notes and JSON."""

import math
import time
from dataclasses import dataclass
from typing import Any

import click

from rowcache_tasks.celery import REFRESH_QUEUE, SCHEDULE_QUEUE
from rowcache_tasks.celery.broker_state import BrokerState
from rowcache_tasks.ops.cli.access import Access
from rowcache_tasks.ops.finding import Finding
from rowcache_tasks.ops.overview import Overview, read_overview
from rowcache_tasks.ops.problem import describe_queue, find_problems
from rowcache_tasks.ops.snapshot import Snapshot, default_max_overdue_s, percentile
from rowcache_tasks.schedule.process import DISPATCHER, WORKER
from rowcache_tasks.text import one_line, show_count, show_duration, show_text

HEADER = ("TABLE", "SCHEDULED", "OVERDUE", "FOR", "FAILING", "COMMITTED", "RATE", "LATE P50", "P99", "LAST")
WIDTHS = (6, 10, 8, 7, 8, 10, 7, 9, 7, 7)
"""79 columns in all, with names of tables of up to 5 characters."""
COLUMNS = 80
MAX_NAME = 24
"""A longer name moves its own line."""
NONE = "-"
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One table, and its previous snapshot."""

    now: Snapshot
    before: Snapshot | None
    """None: the first."""
    is_stalled: bool

    @property
    def rate(self) -> float | None:
        """Commits a second since the previous snapshot; None without one, or if the statistics were reset since."""
        if self.before is None or self.now.at <= self.before.at or self.now.committed < self.before.committed:
            return None
        return (self.now.committed - self.before.committed) / (self.now.at - self.before.at)

    def late_ms(self, share: float) -> float | None:
        """Return the lateness that `share` of the commits did not exceed, since the previous snapshot or in all."""
        return percentile(self.before.lateness if self.before else {}, self.now.lateness, share)

    def as_json(self) -> dict[str, Any]:
        """Return every figure; None: not known."""
        now = self.now
        figures = {
            "scheduled": now.scheduled,
            "overdue": now.overdue,
            "overdue_s": now.overdue_s,
            "waiting_s": now.waiting_s,
            "failing": now.failing,
            "failing_share": now.failing_share,
            "committed": now.committed,
            "rate": self.rate,
            "late_p50_ms": self.late_ms(0.5),
            "late_p99_ms": self.late_ms(0.99),
            "committed_at": now.committed_at,
            "paused_at": now.paused_at,
            "stalled": self.is_stalled,
            **now.counters,
        }
        # A due time of a foreign client may be infinite, which JSON does not have.
        return {name: value if value is None or math.isfinite(value) else None for name, value in figures.items()}

    def cells(self, name: str) -> list[str]:
        """Return the cells below HEADER."""
        now, rate, p50, p99 = self.now, self.rate, self.late_ms(0.5), self.late_ms(0.99)
        return [
            show_text(name),
            show_number(now.scheduled),
            show_number(now.overdue),
            show_duration(now.overdue_s) if now.overdue else NONE,
            show_number(now.failing),
            show_number(now.committed),
            NONE if rate is None else f"{rate:,.1f}" if rate < 1000 else f"{rate:,.0f}",
            NONE if p50 is None else show_duration(p50 / 1000),
            NONE if p99 is None else show_duration(p99 / 1000),
            "never" if now.committed_at is None else show_duration(max(0.0, now.at - now.committed_at)),
        ]


@dataclass(frozen=True, slots=True)
class Status:
    """All tables at one moment."""

    overview: Overview
    tables: dict[str, TableStatus]
    problems: list[Finding]

    @property
    def clock(self) -> str:
        """The time of day in the time zone of this machine."""
        return time.strftime("%H:%M:%S", time.localtime(self.overview.at))

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of the columns; the first one fits the names of the tables."""
        longest = max(len(show_text(name)) for name in self.tables)
        return max(WIDTHS[0], min(MAX_NAME, longest) + 1), *WIDTHS[1:]

    def as_json(self) -> dict[str, Any]:
        """Return every figure; None: not known."""
        return {
            "at": self.overview.at,
            "tables": {name: table.as_json() for name, table in self.tables.items()},
            "queue": self.overview.length(REFRESH_QUEUE),
            **self.overview.as_json(),
            "problems": [{"level": problem.level, "text": one_line(problem.text)} for problem in self.problems],
        }

    def rows(self) -> list[list[str]]:
        """Return the cells of each table."""
        return [table.cells(name) for name, table in self.tables.items()]

    def notes(self) -> list[str]:
        """Return the lines below the table: processes, queues, and each problem with its remedy."""
        found = self.overview
        alive = [show_count(len(found.alive(kind)), kind) for kind in (DISPATCHER, WORKER)]
        lines = [f"{problem.level.upper():<4}  {one_line(problem.text)}" for problem in self.problems]
        lines.append(f"alive: {', '.join(alive)}")
        if found.broker_error:
            lines.append(f"queue: unknown: {one_line(found.broker_error, COLUMNS - 16)}")
        elif found.queues is not None:
            lines += [describe_queue(found, name) for name in (REFRESH_QUEUE, SCHEDULE_QUEUE)]
        return [click.wrap_text(line, COLUMNS, subsequent_indent="      ") for line in lines]


def read_status(access: Access, before: Status | None, broker: BrokerState | None = None) -> Status:
    """Read Redis in four round trips, and the broker."""
    overview = read_overview(access.client, access.settings, broker)
    limit_s = default_max_overdue_s(access.settings)
    tables = {}
    for name, now in overview.tables.items():
        last = before.tables.get(name) if before else None
        tables[name] = TableStatus(now, last.now if last else None, now.is_stalled(limit_s))
    return Status(overview, tables, list(find_problems(overview, access.settings)))


def show_number(count: int) -> str:
    """Write a count in at most nine characters: 9,999,999, then 10.0M."""
    if count < 10 * MILLION:
        return f"{count:,}"
    # Whole numbers: a counter of a foreign client may be too large for a float.
    return f"{count // MILLION:,}.{count % MILLION // (MILLION // 10)}M"
