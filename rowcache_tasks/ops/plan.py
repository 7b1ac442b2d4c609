"""Capacity plan: load of each part, by the formulas of docs/capacity.md."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from rowcache_tasks.dispatch.backpressure import LINGER_S


class Cost(NamedTuple):
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


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with the same interval."""

    rows: float
    every_s: float


@dataclass(frozen=True, slots=True)
class Part:
    """Load of one part of a deployment."""

    count: float  # processes, or cores of a server
    busy: float  # share of the time; a worker process that waits for an answer is busy
    cores: float  # processor time of the whole part; seconds a second
    saturates_at: float  # factor of this load at which the part is always busy; its batches are full then


class Batches(NamedTuple):
    """Batches of one second."""

    rows: float  # in each
    per_s: float
    looks_per_s: float
    wait_s: float = 0.0  # time that a due row waits for a dispatcher, on average


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Rows to refresh, and the deployment that refreshes them; each figure is computed from these."""

    groups: tuple[Group, ...]
    row_bytes: float = 300.0  # JSON of a row, on average
    changed_share: float = 1.0  # refreshes that find a new value; 0 to 1
    gets_per_s: float = 0.0  # that reach Redis
    tables: int = 1
    together: float = 1.0  # rows with the same due time, on average
    dispatchers: int | None = None  # None, here and for processes: as many as are needed
    processes: int | None = None  # of all workers
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

    @property
    def rows(self) -> float:
        """All rows."""
        return sum(group.rows for group in self.groups)

    @property
    def refreshes_per_s(self) -> float:
        """Refreshes a second."""
        return sum(group.rows / group.every_s for group in self.groups)

    @property
    def full(self) -> Batches:
        """Full batches."""
        per_s = self.refreshes_per_s / self.batch_size
        return Batches(self.batch_size, per_s, per_s)

    def needed(self, busy: float) -> int:
        """Return how many parts are needed when `busy` of them would be busy all the time."""
        return max(1, math.ceil(busy / self.utilisation - 1e-9))

    def core_s(self, used_us: float) -> float:
        """Return the processor time of work that takes so many microseconds of the measured core; seconds."""
        return used_us / 1e6 / self.speed

    def takes_s(self, used_us: float) -> float:
        """Return the time of such work and its round trips; seconds."""
        return self.core_s(used_us) + TRIPS * self.round_trip_s

    def batch_use(self, cost: Cost, rows: float) -> float:
        """Return the use of a part for one batch."""
        return cost.batch + rows * (cost.row + cost.byte * self.row_bytes + cost.changed * self.changed_share)

    def use(self, cost: Cost, made: Batches) -> float:
        """Return the use of a part in one second, without Cost.second."""
        return made.looks_per_s * cost.look + made.per_s * self.batch_use(cost, made.rows)

    def refresh_s(self, rows: float) -> float:
        """Return how long a worker process needs for a batch; seconds."""
        return self.takes_s(sum(self.batch_use(cost, rows) for cost in (WORKER_POOL, DATABASE, REDIS)))

    @property
    def dispatch_s(self) -> float:
        """Time that a dispatcher needs for a full batch; seconds."""
        rows = self.batch_size
        return self.takes_s(self.batch_use(DISPATCHER, rows) + (REDIS.batch + REDIS.row * rows) / 2)

    @cached_property
    def dispatcher_count(self) -> int:
        """Dispatchers that there are, or are needed."""
        return self.dispatchers or max(SPARE, self.needed(self.full.per_s * self.dispatch_s))

    @cached_property
    def worker_counts(self) -> tuple[int, int]:
        """Workers, and their processes, that there are, or are needed."""
        if self.processes is not None:
            return math.ceil(self.processes / self.concurrency), self.processes
        refreshing = max(SPARE, self.needed(self.batches.per_s * self.refresh_s(self.batches.rows)))
        fetching = self.needed(self.core_s(self.use(WORKER_MAIN, self.batches) + WORKER_MAIN.second))
        workers = max(math.ceil(refreshing / self.concurrency), fetching)
        return workers, workers * self.concurrency

    @cached_property
    def batches(self) -> Batches:
        """Batches as full as they get (docs/capacity.md): longer cycles make fuller ones, and these longer cycles."""
        rate, dispatchers, together = self.refreshes_per_s, self.dispatcher_count, min(self.together, self.batch_size)
        pass_s, row_s = self.takes_s(PASS_US), self.core_s(ROW_PASS_US)

        def after(cycle_s: float) -> tuple[float, float, float]:
            missed = rate / together * cycle_s / dispatchers
            moments = missed + math.exp(-missed)
            batches = self.tables * -math.expm1(-missed / self.tables) + math.exp(-missed)
            rows = min(self.batch_size, together * moments / batches)
            behind = max(0.0, rate / rows * self.takes_s(START_US) - 0.5)
            pause_s = min(self.poll_interval_s, LINGER_S * (1 + behind))
            return pause_s + batches * (pass_s + rows * row_s), rows, cycle_s / dispatchers / 2 * missed / moments

        low, high = 0.0, self.poll_interval_s + (1 + self.tables) * (pass_s + self.batch_size * row_s)
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if after(middle)[0] > middle else (low, middle)
        _, rows, wait_s = after(high)
        return Batches(rows, rate / rows, dispatchers / self.poll_interval_s, wait_s)

    def part(self, count: float, *costs: Cost, idle: int = 0, extra_us: float = 0.0, cycle_s: float = 0.0) -> Part:
        """Return the load of a part that is idle beside its work `idle` times, and its limit with full batches.

        `cycle_s`: time for a full batch when it is not the processor that limits.
        """
        seconds_us = idle * sum(cost.second for cost in costs) + extra_us
        cores = self.core_s(sum(self.use(cost, self.batches) for cost in costs) + seconds_us)
        at_most = self.full.per_s * cycle_s or self.core_s(sum(self.use(cost, self.full) for cost in costs) + extra_us)
        return Part(count, cores / count, cores, count / at_most)

    @cached_property
    def parts(self) -> dict[str, Part]:
        """Load of each part."""
        (workers, processes), gets_us = self.worker_counts, self.gets_per_s * GET_US
        pool = self.part(processes, WORKER_POOL, cycle_s=self.refresh_s(self.batch_size))
        parts = {
            "dispatchers": self.part(self.dispatcher_count, DISPATCHER, cycle_s=self.dispatch_s),
            "worker main processes": self.part(workers, WORKER_MAIN, idle=workers),
            "worker processes": replace(pool, busy=self.batches.per_s * self.refresh_s(self.batches.rows) / processes),
            "Redis": self.part(1, REDIS, idle=1, extra_us=gets_us),
            "database": self.part(self.database_cores, DATABASE),
        }
        if self.cores is not None:
            cores, limit = sum(part.cores for part in parts.values()), self.part(self.cores, *COSTS, extra_us=gets_us)
            parts[MACHINE] = replace(limit, busy=cores / self.cores, cores=cores)
        return parts

    @cached_property
    def figures(self) -> dict[str, Any]:
        """Every figure of `rowcache plan --json` by its name; an infinite time: rows get later and later."""
        parts, made, (workers, processes) = self.parts, self.batches, self.worker_counts
        first = min(parts, key=lambda name: parts[name].saturates_at)
        limit = parts[first].saturates_at
        scheduling_s = self.rows / SCHEDULED_PER_S / self.speed
        catch_up_s = self.rows / self.refreshes_per_s / limit
        given = ("rows", "refreshes_per_s", "groups", "row_bytes", "changed_share", "gets_per_s", "tables", "together")
        return {name: getattr(self, name) for name in (*given, "batch_size")} | {
            "rows_per_batch": made.rows,
            "batches_per_s": made.per_s,
            "parts": parts,
            "first_to_saturate": first,
            "workers": workers,
            "cores": sum(part.cores for name, part in parts.items() if name != MACHINE),
            "late_s": made.wait_s + self.takes_s(START_US) + self.refresh_s(made.rows) if limit > 1 else math.inf,
            "queries_per_s": made.per_s,
            "redis_bytes": self.rows * (MEMORY_PER_ROW + MEMORY_PER_BYTE * self.row_bytes),
            "redis_receives_bytes_per_s": self.use(RECEIVED, made) + self.gets_per_s * GET_BYTES,
            "redis_sends_bytes_per_s": self.use(SENT, made) + self.gets_per_s * self.row_bytes,
            # As docs/deployment.md counts them ("Connection budget"), with one Flower.
            "redis_connections": 9 * self.dispatcher_count
            + (8 * workers + 4 * processes + 40 + self.readers + 2 * self.senders),
            "database_connections": processes + 4 * self.fillers,
            "scheduling_s": scheduling_s,
            "warm_up_s": max(scheduling_s + max(group.every_s for group in self.groups), catch_up_s),
            "catch_up_s": catch_up_s,
            "constants": MEASURED,
        }
