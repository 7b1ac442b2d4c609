"""How late refreshes are: from the time at which a row is due until its value is written.

Rows with intervals of 0.1 s, 1 s, 10 s and 60 s, in shares of 30, 30, 30 and 10 % of the refreshes, their due times
spread evenly, so that 100, 1,000 and 10,000 of them are due each second. That lasts for some seconds; what is due in
them counts, whether it was done or not. A refresh that is not done in the end counts as late as it is by then, so that
a percentile may be only the least that it can be. All contenders are watched from outside in the same way: watch.py.

- ours: a dispatcher and a worker with a pool of two processes, in the shipped configuration;
- the book's daemon: its algorithm with a modern client, one process (programs/book_daemon.py);
- Celery beat: an ordinary entry for each row, and a worker with two processes; no results, no events, messages fetched
  ahead (programs/celery_beat.py). It is due an interval after beat has sent it, by beat's own reckoning.

The two others write down when they refreshed a row, together with its value: some hundredths of their work. Their
value of a row is always written, ours only if it has changed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.lateness import Lateness
from benchmarks.options import Options
from benchmarks.progress import progress
from benchmarks.punctual import BEAT, BOOK, OURS, Candidate
from benchmarks.section import Bar, Bars, Line, Lines, Section, Table
from benchmarks.stage import Stage, wait_until
from benchmarks.timetable import Row, size, timetable
from benchmarks.watch import Watch
from rowcache_tasks.config.settings import Table as CachedTable
from rowcache_tasks.ops.status import Snapshot, percentile, read_snapshot

RATES = (100, 1_000, 10_000)
SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
INV = CachedTable("inv", "inventory")

PATIENCE = (1, 2, 4, 8, 16, 32)
"""How many times the usual time a candidate gets until its rows are due."""
GRACE_S = 0.5
"""From the end of the window until what was due in it counts as not done."""
STEP_S = 0.5
"""Of the chart of lateness over time."""


@dataclass(frozen=True)
class Plan:
    """How long a window is at each rate, and how many there are."""

    windows_s: dict[int, float]
    rounds: int
    once: frozenset[tuple[str, int]] = frozenset()
    """(key of a candidate, rate) that is measured in the first round only: it gets nowhere, and takes long to start."""
    never: frozenset[tuple[str, int]] = frozenset()


FULL = Plan({100: 10.0, 1_000: 7.0, 10_000: 7.0}, 3, once=frozenset({("beat", 10_000)}))
QUICK = Plan({100: 2.0, 1_000: 2.0, 10_000: 2.0}, 1, never=frozenset({("beat", 10_000)}))


@dataclass(frozen=True)
class Window:
    """What one window gave; times in seconds."""

    lateness: Lateness
    reported: dict[str, float | None]
    """What the package itself reports, in classes 19 % apart; milliseconds."""


Found = dict[tuple[str, int], list[Window]]


def run(stage: Stage, options: Options) -> Section:
    """Measure all, in turn."""
    plan = QUICK if options.is_quick else FULL
    candidates = [OURS, BOOK, BEAT]
    found: Found = {}
    for number in range(plan.rounds):
        turn = number % len(candidates)
        for candidate in candidates[turn:] + candidates[:turn]:
            stage.clear()
            with candidate.running(stage):
                for rate, window_s in plan.windows_s.items():
                    if (candidate.key, rate) in plan.never or (number and (candidate.key, rate) in plan.once):
                        continue
                    progress.step(f"lateness: round {number + 1} of {plan.rounds}, {candidate.label}, {rate:,}/s")
                    found.setdefault((candidate.key, rate), []).append(measure(stage, candidate, rate, window_s))
    return section(found, candidates)


def measure(stage: Stage, candidate: Candidate, rate: int, window_s: float) -> Window:
    """Let rows be due for a while, and watch; a machine that is too slow to have all ready by then gets more time."""
    for patience in PATIENCE:
        forget(stage)
        start = stage.now() + patience * candidate.lead_s(size(rate))
        end = start + window_s
        rows = timetable(rate, start, stage.rows)
        put(stage, rows, start)
        with candidate.pacing(stage, rows):
            if stage.now() > start:
                continue
            before = read_snapshot(stage.client, INV)
            lateness = Watch(stage.client, rows, start, end, candidate.lease_s).run(end + GRACE_S)
            return Window(lateness, reported(before, read_snapshot(stage.client, INV)))
    raise AssertionError(f"{candidate.label}: at {rate:,}/s, rows were due before all was ready")


def put(stage: Stage, rows: Sequence[Row], start: float) -> None:
    """Schedule rows as any client would. They were refreshed before, so that the first refresh is one like others."""
    for first in range(0, len(rows), 10_000):
        part = rows[first : first + 10_000]
        stage.client.zadd("refreshed:", {row.row_id: start - 1 for row in part})
        stage.client.zadd("delay:", {row.row_id: row.delay_s for row in part})
        stage.client.zadd("schedule:", {row.row_id: row.due for row in part})


def forget(stage: Stage) -> None:
    """Have nothing scheduled, and wait for what is under way."""
    stage.client.delete("schedule:", "delay:")
    wait_until(lambda: not stage.client.exists("queue:"), "no batch is under way")
    stage.client.delete("refreshed:")


def reported(before: Snapshot, after: Snapshot) -> dict[str, float | None]:
    """Give what `rowcache status` would show; milliseconds."""
    return {name: percentile(before.lateness, after.lateness, share) for name, share in SHARES.items()}


def section(found: Found, candidates: Sequence[Candidate]) -> Section:
    """Make tables, charts and figures of what was found."""
    figures: dict[str, dict[str, Any]] = {candidate.key: {} for candidate in candidates}
    for (key, rate), windows in found.items():
        figures[key][str(rate)] = summary(rate, windows)
    cells = {(c.key, rate): row(c, rate, figures[c.key].get(str(rate))) for c in candidates for rate in RATES}
    return Section(
        "lateness",
        "Lateness: from due to written",
        [Table(COLUMNS, [cells[c.key, rate] for rate in RATES for c in candidates], CAPTION)],
        [bars(rate, candidates, figures) for rate in RATES[:2]],
        [lines(rate, candidates, found) for rate in RATES[1:]],
        figures,
    )


COLUMNS = ["due a second", "", *SHARES, "most", "done"]
CAPTION = (
    "How late refreshes were: median of the rounds, and their range. “≥”: not all were done when the window ended, so "
    "it would have become more. “done” is the share of what the intervals ask for."
)


def summary(rate: int, windows: Sequence[Window]) -> dict[str, Any]:
    """Give the figures of a candidate at a rate; milliseconds, and shares between 0 and 1."""
    figures: dict[str, Any] = {"due_per_s": rate, "windows": len(windows)}
    for name, share in SHARES.items():
        values = [1e3 * window.lateness.percentile(share)[0] for window in windows]
        key = name.replace(".", "_")
        figures |= {f"{key}_ms": median(values), f"{key}_low_ms": min(values), f"{key}_high_ms": max(values)}
        figures[f"{key}_is_least"] = any(window.lateness.percentile(share)[1] for window in windows)
        figures[f"reported_{key}_ms"] = [window.reported[name] for window in windows]
    late = [window.lateness for window in windows]
    figures["max_ms"], figures["max_is_least"] = max(1e3 * one.most for one in late), any(one.waiting for one in late)
    shares = [one.share for one in late]
    figures |= {"done": median(shares), "done_low": min(shares), "done_high": max(shares)}
    return figures | {name: sum(count(one) for one in late) for name, count in COUNTS.items()}


COUNTS: dict[str, Callable[[Lateness], int]] = {
    "refreshes": lambda late: len(late.done),
    "waiting": lambda late: len(late.waiting),
    "unclear": lambda late: late.unclear,
}


def row(candidate: Candidate, rate: int, figures: Mapping[str, Any] | None) -> list[str]:
    """Write a row of the table."""
    label = f"**{candidate.label}**" if candidate.is_ours else candidate.label
    if figures is None:
        return [f"{rate:,}", label, *["–"] * (len(COLUMNS) - 2)]
    times = []
    for key in (name.replace(".", "_") for name in SHARES):
        least = "≥ " if figures[f"{key}_is_least"] else ""
        middle, low, high = (figures[f"{key}{end}_ms"] for end in ("", "_low", "_high"))
        spread = f" ({shown(low)}–{shown(high)})" if figures["windows"] > 1 else ""
        times.append(f"{least}{shown(middle)}{spread}")
    most = f"{'≥ ' if figures['max_is_least'] else ''}{shown(figures['max_ms'])}"
    return [f"{rate:,}", label, *times, most, f"{100 * figures['done']:.3g} %"]


def shown(ms: float) -> str:
    """Write a time with its unit."""
    return f"{ms / 1e3:.2g} s" if ms >= 950 else f"{ms:.0f} ms" if ms >= 9.95 else f"{ms:.1f} ms"


def bars(rate: int, candidates: Sequence[Candidate], figures: Mapping[str, Mapping[str, Any]]) -> Bars:
    """Draw the 99th percentile of each candidate at a rate."""
    drawn = [
        Bar(c.label, found["p99_ms"], found["p99_low_ms"], found["p99_high_ms"], c.is_ours)
        for c in candidates
        if (found := figures[c.key].get(str(rate)))
    ]
    title = f"99 of 100 refreshes were no later, {rate:,} due a second"
    return Bars(f"lateness-{rate}", title, "ms", drawn, is_logarithmic=True)


def lines(rate: int, candidates: Sequence[Candidate], found: Found) -> Lines:
    """Draw how late the refreshes were that were done in each half second, in the first round."""
    drawn = []
    for candidate in candidates:
        for window in found.get((candidate.key, rate), [])[:1]:
            at, late_s = window.lateness.course(STEP_S)
            drawn.append(Line(candidate.label, at, [max(0.1, 1e3 * one) for one in late_s], candidate.is_ours))
    title = f"Median lateness of what was done by then, {rate:,} due a second"
    return Lines(f"lateness-course-{rate}", title, "s", "ms", drawn, is_y_logarithmic=True)
