"""Capacity plan: load of each part, by the formulas of docs/capacity.md."""

import math
import re
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

from rowcache_tasks.dispatch.backpressure import LINGER_S
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten


@dataclass(frozen=True, slots=True)
class Cost:
    """Use of one part: microseconds of one core, or bytes of the network."""

    second: float = 0.0  # each second, also when idle
    look: float = 0.0  # each look of a dispatcher for due rows
    batch: float = 0.0
    row: float = 0.0
    byte: float = 0.0  # each byte of JSON
    changed: float = 0.0  # each refresh that finds a new value


MEASURED = "2026-11-23, 4d37b56dc5, 2 cores of AMD EPYC, Valkey 9.1.2"
DISPATCHER = Cost(look=449, batch=1090, row=0.528)
WORKER_MAIN = Cost(second=2140, batch=1340, row=0.76)
WORKER_POOL = Cost(batch=1340, row=9.4)
REDIS = Cost(second=1760, look=128, batch=558, row=13.2, changed=0.473)
DATABASE = Cost(batch=171, row=5.78)
COSTS = (DISPATCHER, WORKER_MAIN, WORKER_POOL, REDIS, DATABASE)
RECEIVED = Cost(look=120, batch=4090, row=38.4, byte=0.999)
SENT = Cost(look=185, batch=1460, row=23)
GET_US, GET_BYTES = 5.6, 40
PASS_US, ROW_PASS_US = 974, 7.13
"""Time that a dispatcher needs to claim and send one batch, and longer for each row in it."""
START_US = 1910
MEMORY_PER_ROW, MEMORY_PER_BYTE = 317, 0.99
SCHEDULED_PER_S = 72_600  # rows a second of schedule_table

TRIPS = 2  # round trips for each batch: of the dispatcher (claim, send), on the way to a worker, and of the worker
SPARE = 2  # dispatchers and worker processes at least: one may die
MACHINE = "the machine"
SMALLEST, LARGEST = 1e-9, 1e12  # limits of rows and seconds, so that every figure is finite

GROUP = re.compile(r"([0-9.]+)([kM]?)@([0-9.]+)")
MULTIPLES = {"": 1, "k": 1_000, "M": 1_000_000}


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with the same interval."""

    rows: float
    every_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Rows to refresh, and reads that reach Redis."""

    groups: tuple[Group, ...]
    row_bytes: float = 300.0  # JSON of a row, on average
    changed_share: float = 1.0  # refreshes that find a new value; 0 to 1
    gets_per_s: float = 0.0
    tables: int = 1
    together: float = 1.0  # rows with the same due time, on average

    @property
    def rows(self) -> float:
        """All rows."""
        return sum(group.rows for group in self.groups)

    @property
    def refreshes_per_s(self) -> float:
        """Refreshes a second."""
        return sum(group.rows / group.every_s for group in self.groups)

    def batch_cost(self, cost: Cost, rows: float) -> float:
        """Return the use of a part for one batch."""
        return cost.batch + rows * (cost.row + cost.byte * self.row_bytes + cost.changed * self.changed_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Processes, settings and machines."""

    dispatchers: int | None = None
    processes: int | None = None  # processes of all workers; None, here and for dispatchers: as many as are needed
    concurrency: int = 4  # processes of one worker
    batch_size: int = 500
    poll_interval_s: float = 0.05
    utilisation: float = 0.6  # share of the time that a part may be busy
    round_trip_s: float = 0.0
    database_cores: float = 4.0
    speed: float = 1.0  # speed of a core beside the measured one
    cores: float | None = None  # cores of the one machine that runs everything; None: several machines
    readers: int = 0
    senders: int = 0
    fillers: int = 0

    def needed(self, busy: float) -> int:
        """Return how many parts are needed when `busy` of them would be busy all the time."""
        return max(1, math.ceil(busy / self.utilisation - 1e-9))

    def core_s(self, used_us: float) -> float:
        """Return the processor time of work that takes so many microseconds of the measured core; seconds."""
        return used_us / 1e6 / self.speed

    def takes_s(self, used_us: float) -> float:
        """Return the time of such work and its round trips; seconds."""
        return self.core_s(used_us) + TRIPS * self.round_trip_s


@dataclass(frozen=True, slots=True)
class Part:
    """Load of one part of a deployment."""

    count: float  # processes, or cores of a server
    busy: float  # share of the time; a worker process that waits for an answer is busy
    cores: float  # processor time of the whole part; seconds a second
    saturates_at: float  # factor of this load at which the part is always busy; its batches are full then


@dataclass(frozen=True, slots=True)
class Batches:
    """Batches of one second."""

    rows: float
    per_s: float
    looks_per_s: float
    wait_s: float = 0.0  # time that a due row waits for a dispatcher, on average

    def use(self, cost: Cost, work: Workload) -> float:
        """Return the use of a part in one second, without Cost.second."""
        return self.looks_per_s * cost.look + self.per_s * work.batch_cost(cost, self.rows)


def fill_batches(work: Workload, on: Deployment, dispatchers: int) -> Batches:
    """Return how full batches get (docs/capacity.md): longer cycles make fuller batches, and these longer cycles."""
    together, pass_s, row_s = min(work.together, on.batch_size), on.takes_s(PASS_US), on.core_s(ROW_PASS_US)

    def after(cycle_s: float) -> tuple[float, float, float]:
        missed = work.refreshes_per_s / together * cycle_s / dispatchers
        moments = missed + math.exp(-missed)
        batches = work.tables * -math.expm1(-missed / work.tables) + math.exp(-missed)
        rows = min(on.batch_size, together * moments / batches)
        behind = max(0.0, work.refreshes_per_s / rows * on.takes_s(START_US) - 0.5)
        pause_s = min(on.poll_interval_s, LINGER_S * (1 + behind))
        return pause_s + batches * (pass_s + rows * row_s), rows, cycle_s / dispatchers / 2 * missed / moments

    low, high = 0.0, on.poll_interval_s + (1 + work.tables) * (pass_s + on.batch_size * row_s)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if after(middle)[0] > middle else (low, middle)
    _, rows, wait_s = after(high)
    return Batches(rows, work.refreshes_per_s / rows, dispatchers / on.poll_interval_s, wait_s)


def dispatch_s(work: Workload, on: Deployment) -> float:
    """Return how long a dispatcher needs for a full batch; seconds."""
    return on.takes_s(work.batch_cost(DISPATCHER, on.batch_size) + (REDIS.batch + REDIS.row * on.batch_size) / 2)


def refresh_s(work: Workload, on: Deployment, rows: float) -> float:
    """Return how long a worker process needs for a batch; seconds."""
    return on.takes_s(sum(work.batch_cost(cost, rows) for cost in (WORKER_POOL, DATABASE, REDIS)))


def count_processes(work: Workload, on: Deployment) -> tuple[int, int, int]:
    """Return how many dispatchers, workers and worker processes there are, or are needed."""
    dispatching = work.refreshes_per_s / on.batch_size * dispatch_s(work, on)
    dispatchers = on.dispatchers or max(SPARE, on.needed(dispatching))
    if on.processes is not None:
        return dispatchers, math.ceil(on.processes / on.concurrency), on.processes
    made = fill_batches(work, on, dispatchers)
    refreshing = max(SPARE, on.needed(made.per_s * refresh_s(work, on, made.rows)))
    fetching = on.needed(on.core_s(made.use(WORKER_MAIN, work) + WORKER_MAIN.second))
    workers = max(math.ceil(refreshing / on.concurrency), fetching)
    return dispatchers, workers, workers * on.concurrency


def load_parts(
    work: Workload, on: Deployment, made: Batches, dispatchers: int, workers: int, processes: int
) -> dict[str, Part]:
    """Return the load of each part, and its limit with full batches."""
    full_per_s = work.refreshes_per_s / on.batch_size
    full, gets_us = Batches(on.batch_size, full_per_s, full_per_s), work.gets_per_s * GET_US

    def part(count: float, cost: Cost, seconds: int = 0, extra_us: float = 0.0, cycle_s: float = 0.0) -> Part:
        """`cycle_s`: time for a full batch when it is not the processor that limits."""
        cores = on.core_s(made.use(cost, work) + seconds * cost.second + extra_us)
        at_most = full_per_s * cycle_s or on.core_s(full.use(cost, work) + extra_us)
        return Part(count, cores / count, cores, count / at_most)

    pool = part(processes, WORKER_POOL, cycle_s=refresh_s(work, on, full.rows))
    parts = {
        "dispatchers": part(dispatchers, DISPATCHER, cycle_s=dispatch_s(work, on)),
        "worker main processes": part(workers, WORKER_MAIN, seconds=workers),
        "worker processes": replace(pool, busy=made.per_s * refresh_s(work, on, made.rows) / processes),
        "Redis": part(1, REDIS, seconds=1, extra_us=gets_us),
        "database": part(on.database_cores, DATABASE),
    }
    if on.cores is not None:
        cores = sum(part.cores for part in parts.values())
        at_most = on.core_s(sum(full.use(cost, work) for cost in COSTS) + gets_us)
        parts[MACHINE] = Part(on.cores, cores / on.cores, cores, on.cores / at_most)
    return parts


def make_plan(work: Workload, on: Deployment) -> dict[str, Any]:
    """Return every figure of `rowcache plan --json` by its name; an infinite time: rows get later and later."""
    dispatchers, workers, processes = count_processes(work, on)
    made = fill_batches(work, on, dispatchers)
    parts = load_parts(work, on, made, dispatchers, workers, processes)
    first = min(parts, key=lambda name: parts[name].saturates_at)
    limit = parts[first].saturates_at
    late_s = made.wait_s + on.takes_s(START_US) + refresh_s(work, on, made.rows)
    scheduling_s = work.rows / SCHEDULED_PER_S / on.speed
    catch_up_s = work.rows / work.refreshes_per_s / limit
    return {
        "rows": work.rows,
        "refreshes_per_s": work.refreshes_per_s,
        **{field.name: getattr(work, field.name) for field in fields(work)},
        "batch_size": on.batch_size,
        "rows_per_batch": made.rows,
        "batches_per_s": made.per_s,
        "parts": parts,
        "first_to_saturate": first,
        "workers": workers,
        "cores": sum(part.cores for name, part in parts.items() if name != MACHINE),
        "late_s": late_s if limit > 1 else math.inf,
        "queries_per_s": made.per_s,
        "redis_bytes": work.rows * (MEMORY_PER_ROW + MEMORY_PER_BYTE * work.row_bytes),
        "redis_receives_bytes_per_s": made.use(RECEIVED, work) + work.gets_per_s * GET_BYTES,
        "redis_sends_bytes_per_s": made.use(SENT, work) + work.gets_per_s * work.row_bytes,
        # As docs/deployment.md counts them ("Connection budget"), with one Flower.
        "redis_connections": 9 * dispatchers + 8 * workers + 4 * processes + 40 + on.readers + 2 * on.senders,
        "database_connections": processes + 4 * on.fillers,
        "scheduling_s": scheduling_s,
        "warm_up_s": max(scheduling_s + max(group.every_s for group in work.groups), catch_up_s),
        "catch_up_s": catch_up_s,
        "constants": MEASURED,
    }


def parse_group(text: str) -> Group:
    """Read ROWS@SECONDS: 1000000@60, 10k@1.5, 1M@60. Raises ArgumentError."""
    rows = every_s = 0.0
    if match := GROUP.fullmatch(text):
        with suppress(ValueError):
            rows, every_s = float(match[1]) * MULTIPLES[match[2]], float(match[3])
    if not (SMALLEST <= rows <= LARGEST and SMALLEST <= every_s <= LARGEST):
        raise ArgumentError(
            f"rows are {shorten(text)}: give ROWS@SECONDS, both from {SMALLEST:g} to {LARGEST:g}, "
            "like 1000000@60, 1M@60 or 500@0.5"
        )
    return Group(rows, every_s)
