"""Lateness: the time from when a row is due until its value is written.

At each rate, rows become due evenly over a window of some seconds, each once. Nothing is read meanwhile; afterwards
`refreshed:` holds the time of each write. A row that is not refreshed half a second after the window counts as late as
it is then, so that a percentile is a lower bound.

The contenders are this package and the daemon of the book, which writes the time of each refresh together with the
value.
"""

import math
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from support.waiting import wait_until

from benchmarks.contender import OURS, TIMED_BOOK, Pids
from benchmarks.options import Options
from benchmarks.processor import Processor
from benchmarks.progress import say
from benchmarks.round import server_pids
from benchmarks.section import Chart, Section, Series, Table
from benchmarks.servers import CHUNK, Servers

RATES = (100, 1_000, 10_000)
SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}

DELAY_S = 1000.0
"""Interval of the rows; longer than a window."""

GRACE_S = 0.5
"""Time after the window within which a row still counts as refreshed."""

PATIENCE = (1, 4, 16)
"""Factors of the time for writing the schedule, tried in turn on a machine that is too slow."""


@dataclass(frozen=True)
class Window:
    """Result of one window; seconds."""

    late: list[float]
    """Lateness of each row that was due, sorted."""
    waiting: int
    """Rows that were not refreshed in the end."""
    cores: float
    """Processor time of all processes, in cores."""

    def late_ms(self, share: float) -> float:
        """Return the lateness that a share of the rows does not exceed; milliseconds."""
        return 1e3 * self.late[max(0, math.ceil(share * len(self.late)) - 1)]


def run(servers: Servers, options: Options) -> Section:
    """Measure all contenders at all rates, in turn."""
    window_s, rounds = (2.0, 1) if options.is_quick else (5.0, 3)
    found: dict[tuple[str, int], list[Window]] = {}
    for number in range(rounds):
        for contender in (OURS, TIMED_BOOK) if number % 2 else (TIMED_BOOK, OURS):
            servers.clear()
            with contender.running(servers) as pids:
                for rate in RATES:
                    say(f"lateness: round {number + 1} of {rounds}, {contender.name}, {rate:,}/s")
                    window = measure(servers, pids, rate, window_s)
                    found.setdefault((contender.name, rate), []).append(window)
    return section(found)


def measure(servers: Servers, pids: Pids, rate: int, window_s: float) -> Window:
    """Let rows be due at a rate for a window."""
    count = int(rate * window_s)
    for patience in PATIENCE:
        clear_schedule(servers)
        start = servers.now() + patience * (0.5 + 1.5e-5 * count)
        due = {str(n): start + n / rate for n in range(1, count + 1)}
        put(servers, due, start)
        if servers.now() > start:
            continue
        processor = Processor(server_pids(servers) | pids)
        until = start + window_s + GRACE_S
        time.sleep(max(0.0, until - servers.now()))
        cores = sum(processor.used().values()) / (window_s + GRACE_S)
        return collect(servers, due, until, cores)
    raise AssertionError(f"at {rate:,}/s, the first rows were due before all were scheduled")


def clear_schedule(servers: Servers) -> None:
    """Empty the schedule, and wait for the batches in flight."""
    servers.client.delete("schedule:", "delay:")
    wait_until(lambda: not servers.client.exists("queue:"), "no batch is in flight")
    servers.client.delete("refreshed:")


def put(servers: Servers, due: dict[str, float], start: float) -> None:
    """Schedule rows, as if each had been refreshed before."""
    row_ids = list(due)
    for first in range(0, len(row_ids), CHUNK):
        part = row_ids[first : first + CHUNK]
        servers.client.zadd("refreshed:", dict.fromkeys(part, start - 1))
        servers.client.zadd("delay:", dict.fromkeys(part, DELAY_S))
        servers.client.zadd("schedule:", {row_id: due[row_id] for row_id in part})


def collect(servers: Servers, due: dict[str, float], until: float, cores: float) -> Window:
    """Read when the rows were refreshed."""
    found = servers.client.zrange("refreshed:", 0, -1, withscores=True)
    refreshed = {member.decode(): score for member, score in found}
    late, waiting = [], 0
    for row_id, at in due.items():
        if at <= refreshed.get(row_id, 0.0) <= until:
            late.append(refreshed[row_id] - at)
        else:
            late.append(until - at)
            waiting += 1
    return Window(sorted(late), waiting, cores)


def section(found: dict[tuple[str, int], list[Window]]) -> Section:
    """Make the table, the chart and the figures."""
    figures: dict[str, dict[str, Any]] = {OURS.name: {}, TIMED_BOOK.name: {}}
    rows = []
    for rate in RATES:
        for name, by_rate in figures.items():
            windows = found[name, rate]
            medians = {key: median(window.late_ms(share) for window in windows) for key, share in SHARES.items()}
            by_rate[str(rate)] = medians | {"waiting": max(window.waiting / len(window.late) for window in windows)}
            rows.append([f"{rate:,}", f"**{name}**" if name == OURS.name else name, *cells(windows)])
    lines = [
        Series(name, [each["p99"] for each in figures[name].values()], [*map(float, RATES)], is_ours=name == OURS.name)
        for name in figures
    ]
    title = "99 of 100 refreshes are no later"
    chart = Chart("lateness", title, "lines", "ms", lines, x_unit="rows due a second", log="xy")
    columns = ["due a second", "contender", *SHARES, "cores"]
    return Section("lateness", "Lateness: from due to written", [Table(columns, rows, CAPTION)], [chart], figures)


CAPTION = (
    "Median of the rounds and their range. “≥”: some rows were not refreshed half a second after the window. Cores: "
    "processor time of all processes, the servers included."
)


def cells(windows: list[Window]) -> list[str]:
    """Write the percentiles of a contender at a rate."""
    found = []
    waiting = max(window.waiting / len(window.late) for window in windows)
    for share in SHARES.values():
        values = [window.late_ms(share) for window in windows]
        bound = "≥ " if waiting > 1 - share else ""
        found.append(f"{bound}{shown(median(values))} ({shown(min(values))}–{shown(max(values))})")
    return [*found, f"{median(window.cores for window in windows):.2f}"]


def shown(ms: float) -> str:
    """Write a time with its unit."""
    return f"{ms / 1e3:.2g} s" if ms >= 950 else f"{ms:.0f} ms" if ms >= 9.95 else f"{ms:.1f} ms"
