"""Own how the constants of the capacity model come out of runs: which runs, and the fit of each part to them."""

import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.fit import fit
from benchmarks.load import Load
from benchmarks.observation import Observation
from benchmarks.options import Options
from benchmarks.stage import Stage
from rowcache_tasks.ops.capacity import Fleet
from rowcache_tasks.ops.capacity.fill import count_behind

COLUMNS = {
    "dispatcher": ("look", "batch", "row"),
    "worker_main": ("second", "batch", "row"),
    "worker_pool": ("batch", "row", "byte"),
    "redis": ("second", "look", "batch", "row", "byte", "changed"),
    "database": ("batch", "row", "byte"),
    "net_in": ("look", "batch", "row", "byte"),
    "net_out": ("look", "batch", "row"),
}
"""What the cost of each part may depend on."""

IDLE = ("second", "look")
"""What there is also with nothing due."""
POLL_S = 0.9 * Fleet().poll_interval_s
"""How often a dispatcher looks what is due, whether it has something to do or not."""
CONNECTIONS = 32


@dataclass(frozen=True)
class Run:
    """A run, and how long the JSON of its rows was."""

    name: str
    seen: Observation
    row_bytes: float

    @property
    def fill(self) -> float:
        """Rows in a batch."""
        return self.seen.rows / max(1.0, self.seen.batches)

    def column(self, name: str) -> float:
        """Give how often a cost was incurred."""
        seen = self.seen
        return {
            "second": seen.at,
            "look": seen.at / POLL_S,
            "batch": seen.batches,
            "row": seen.rows,
            "byte": seen.rows * self.row_bytes,
            "changed": seen.changed,
        }[name]

    def used(self, part: str) -> float:
        """Give what a part used: microseconds of processor time, or bytes."""
        if part in self.seen.processor:
            return 1e6 * self.seen.processor[part]
        return float(getattr(self.seen, part))


@dataclass(frozen=True)
class Memory:
    """Memory of Redis for a row, by the length of its JSON; bytes."""

    short: tuple[float, float]
    long: tuple[float, float]

    @property
    def byte(self) -> float:
        """For each byte of JSON."""
        return max(0.0, (self.long[1] - self.short[1]) / (self.long[0] - self.short[0]))

    @property
    def row(self) -> float:
        """For a row without its JSON."""
        return max(0.0, self.short[1] - self.byte * self.short[0])


def calibrate(load: Load, options: Options) -> tuple[list[Run], Memory]:
    """Make the runs: nothing due, all rows due at once, rows due one after another; short and long JSON."""
    rows, idle_s, pace_s = (10_000, 1.0, 1.2) if options.is_quick else (100_000, 6.0, 7.0)
    rows = min(rows, load.rows)
    runs = [Run("idle", load.idle(idle_s), 0.0)]
    load.empty()
    first = load.burst(rows)
    short = load.row_bytes(), load.values_bytes() / rows
    runs += [Run("burst, all new", first, short[0]), Run("burst, none changed", load.burst(rows), short[0])]
    for rate in (150, 1_500) if options.is_quick else (150, 800, 2_000, 6_000):
        runs.append(Run(f"{rate:,}/s", load.pace([(min(load.rows, 40 * rate), 40)], pace_s), short[0]))
    load.empty()
    load.show(repeats=8)
    second = load.burst(rows)
    long = load.row_bytes(), load.values_bytes() / rows
    runs += [Run("burst, long, all new", second, long[0]), Run("burst, long", load.burst(rows), long[0])]
    load.show()
    return runs, Memory(short, long)


def fit_constants(
    runs: list[Run], memory: Memory, linger_s: float, known: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Fit the costs; the form of constants.json, without what is not in the runs. `known`: measured by themselves."""
    costs = {part: fit_part(part, columns, runs, known.get(part, {})) for part, columns in COLUMNS.items()}
    row_pass_us = costs["dispatcher"]["row"] + costs["redis"]["row"] / 2
    paced = [run for run in runs if is_paced(run)] or runs[-1:]
    # By Little's law: how many are there is how often they come, times how long they stay.
    start_s = median(run.seen.behind / (run.seen.batches / run.seen.at) / stretch(run) for run in paced)
    passes = [1e6 * (cycle_s(run) - pause_s(run, linger_s)) / stretch(run) - row_pass_us * run.fill for run in paced]
    return {
        **costs,
        "pass_us": rounded(max(0.0, median(passes))),
        "row_pass_us": rounded(row_pass_us),
        "start_us": rounded(1e6 * start_s),
        "memory_row": rounded(memory.row),
        "memory_byte": rounded(memory.byte),
    }


def fit_part(part: str, columns: tuple[str, ...], runs: list[Run], known: Mapping[str, float]) -> dict[str, float]:
    """Fit the cost of one part: what it uses with nothing due first, and then the rest to what is left."""
    found = dict(known)

    def left(run: Run) -> float:
        return run.used(part) - sum(cost * run.column(name) for name, cost in found.items())

    idle, *others = runs
    for name in columns:
        if name in IDLE and name not in found:
            found[name] = max(0.0, left(idle) / idle.column(name))
    names = [name for name in columns if name not in found]
    rows = [[run.column(name) for name in names] for run in others]
    costs = fit(rows, list(map(left, others)), [run.used(part) for run in others])
    return {name: rounded(value) for name, value in (found | dict(zip(names, costs, strict=True))).items()}


def is_paced(run: Run) -> bool:
    """Whether batches of a run were neither full nor of one or two rows: they tell of the pauses between them."""
    return run.name.endswith("/s") and run.fill > 2.5


def cycle_s(run: Run) -> float:
    """Give how long a dispatcher could not claim after each batch of a run: the formula of fill.py, solved."""
    rate = run.seen.rows / run.seen.at
    missed = run.fill
    for _ in range(50):
        missed = run.fill - math.exp(-missed)
    return missed / rate


def stretch(run: Run) -> float:
    """Give how many times as long work took since everything shares the cores of this machine."""
    return Fleet(cores=os.cpu_count()).stretch(sum(run.seen.processor.values()) / run.seen.at)


def pause_s(run: Run, linger_s: float) -> float:
    """Give how long the dispatcher has paused after each of these batches."""
    return linger_s * (1 + count_behind(run.seen.behind))


def rounded(value: float) -> float:
    """Keep three digits: more are noise."""
    return float(f"{value:.3g}")


def get_us(stage: Stage, row_ids: int, seconds: float, load: Load) -> float:
    """Give the processor time of Redis for one GET, from many connections at the same time; microseconds."""
    path = stage.valkey.url.removeprefix("unix://").partition("?")[0]
    connections = []
    try:
        for _ in range(CONNECTIONS):
            connection = socket.socket(socket.AF_UNIX)
            connections.append(connection)
            connection.connect(path)
        found = [ask(connections, row_ids, seconds / 3, load) for _ in range(3)]
    finally:
        for connection in connections:
            connection.close()
    return rounded(median(found))


def ask(connections: list[socket.socket], row_ids: int, seconds: float, load: Load) -> float:
    """GET over each connection in turn, for a while; microseconds of Redis for each."""
    before, asked = load.observer.look(), 0
    until = before.at + seconds
    while (now := load.observer.clock()) < until:
        for number, connection in enumerate(connections):
            row_id = str(1 + (asked + number + int(now * 1000)) % row_ids).encode()
            connection.sendall(b"*2\r\n$3\r\nGET\r\n$%d\r\ninv:%b\r\n" % (4 + len(row_id), row_id))
        for connection in connections:
            connection.recv(65536)
        asked += len(connections)
    used = load.observer.look() - before
    return 1e6 * used.processor["redis"] / asked
