"""Own the simulation of more machines than there are: dispatchers, workers, one Redis, one database, event by event.

The loop of a dispatcher is that of dispatch.py, and each step takes what the constants of the model say. Redis serves
one after another, and so do a worker's main process, each of its processes, and each core of the database. What a
formula leaves out is here: everybody waits for everybody, and rows that were claimed together are due together again.
Seeded: the same arguments give the same result.
"""

import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.options import Options
from benchmarks.section import Table
from rowcache_tasks.capacity import Constants, Fleet, Group, Plan, Workload, make_plan

GROW_BELOW = 2
"""SHALLOW of dispatch.py: while so many batches wait, one that is not full grows first."""
MAX_QUEUE = 50
JITTER = 0.3
"""Steps take from 1 - JITTER to 1 + JITTER of what they cost, by chance."""

Steps = Iterator[tuple[str, float]]
"""A process yields what it waits for: ("sleep", seconds), or (name of a server, seconds of its time)."""


@dataclass
class Simulated:
    """What a simulation has shown, after it has settled."""

    seconds: float
    rows: int = 0
    batches: int = 0
    claims: int = 0
    late_s: float = 0.0
    """Sum of how long each row had been due when it was committed; seconds."""
    busy: dict[str, float] = field(default_factory=dict)
    """Part -> seconds in which it was busy, of all of a kind together."""

    @property
    def rate(self) -> float:
        """Rows committed a second."""
        return self.rows / self.seconds

    @property
    def fill(self) -> float:
        """Rows in a batch."""
        return self.rows / max(1, self.batches)


class Simulation:
    """Runs a plan's fleet and workload."""

    def __init__(self, plan: Plan, *, seed: int = 1) -> None:
        self.plan = plan
        self._random = random.Random(seed)
        self._now = 0.0
        self._order = 0
        self._events: list[tuple[float, int, Steps]] = []
        self._free: dict[str, list[float]] = {
            "redis": [0.0],
            "database": [0.0] * max(1, int(plan.fleet.database_cores)),
            **{f"main{n}": [0.0] for n in range(plan.workers)},
        }
        self._due: list[tuple[float, float, int]] = []
        """Heap: when, interval, how many rows."""
        self._queue: deque[tuple[float, list[tuple[float, float, int]]]] = deque()
        self._idle: deque[tuple[Steps, int]] = deque()
        self._shown = Simulated(0.0)
        self._settled_s = 0.0

    def run(self, seconds: float, settle_s: float = 1.0) -> Simulated:
        """Run for so long, and so long before that."""
        self._schedule_rows()
        self._settled_s, end = settle_s, settle_s + seconds
        self._shown = Simulated(seconds)
        for _ in range(int(self.plan.part("dispatchers").count)):
            self._at(self._random.random() * 0.01, self._dispatcher())
        processes = int(self.plan.part("worker processes").count)
        for number in range(processes):
            self._at(0.0, self._process(f"main{number % self.plan.workers}"))
        while self._events and self._events[0][0] < end:
            self._now, _, steps = heapq.heappop(self._events)
            self._step(steps)
        return self._shown

    def _schedule_rows(self) -> None:
        """Spread the rows over their intervals, as schedule_table does."""
        for group in self.plan.workload.groups:
            for _ in range(round(group.rows)):
                self._due.append((self._random.random() * group.every_s, group.every_s, 1))
        heapq.heapify(self._due)

    def _at(self, when: float, steps: Steps) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, steps))

    def _step(self, steps: Steps) -> None:
        """Let a process go on until it has to wait."""
        try:
            what, seconds = next(steps)
        except StopIteration:
            return
        if what == "message":
            self._idle.append((steps, 0))
            return
        if what != "sleep":
            seconds *= 1 - JITTER + 2 * JITTER * self._random.random()
            servers = self._free.get(what)
            if servers is not None:
                first = min(range(len(servers)), key=servers.__getitem__)
                start = max(self._now, servers[first])
                servers[first] = start + seconds
                self._note(what, seconds)
                seconds += start - self._now
            else:
                self._note(what, seconds)
        self._at(self._now + seconds, steps)

    def _note(self, what: str, seconds: float) -> None:
        if self._now >= self._settled_s:
            name = "main" if what.startswith("main") else what
            self._shown.busy[name] = self._shown.busy.get(name, 0.0) + seconds

    def _us(self, microseconds: float) -> float:
        return microseconds / 1e6 / self.plan.fleet.speed

    def _dispatcher(self) -> Steps:
        """The loop of dispatch.py."""
        costs, fleet = self.plan.constants, self.plan.fleet
        poll_s, may_be_full, grow_until = 0.9 * fleet.poll_interval_s, True, 0.0
        while True:
            if may_be_full:
                waiting = len(self._queue)
                if waiting >= MAX_QUEUE or (waiting >= GROW_BELOW and self._now < grow_until):
                    yield "sleep", poll_s if waiting >= MAX_QUEUE else 2 * fleet.linger_s
                    continue
            yield "redis", self._us(costs.redis.claim)
            claimed_at, batch, count = self._now, [], 0
            while self._due and self._due[0][0] <= claimed_at and count < fleet.batch_size:
                batch.append(heapq.heappop(self._due))
                count += batch[-1][2]
            self._shown.claims += self._now >= self._settled_s
            if batch:
                yield "redis", self._us(costs.redis.batch / 2 + costs.redis.row / 2 * count)
                own = costs.pass_us - costs.redis.claim - costs.redis.batch / 2
                yield "dispatcher", max(0.0, self._us(own + costs.dispatcher.row * count))
                yield "sleep", 3 * fleet.round_trip_s
                self._send(claimed_at, batch)
            else:
                yield "dispatcher", self._us(costs.dispatcher.claim)
            is_full = count >= fleet.batch_size
            may_be_full, grow_until = bool(batch), 0.0 if is_full else self._now + poll_s
            pause = min(poll_s, self._due[0][0] - self._now) if self._due else poll_s
            yield "sleep", max(pause, fleet.linger_s if batch and not is_full else 0.0)

    def _send(self, claimed_at: float, batch: list[tuple[float, float, int]]) -> None:
        self._queue.append((claimed_at, batch))
        if self._idle:
            steps, _ = self._idle.popleft()
            self._at(self._now, steps)

    def _process(self, main: str) -> Steps:
        """A worker process: its main process fetches a batch for it; it reads, commits, and takes the next."""
        plan, costs = self.plan, self.plan.constants
        size, changed = plan.workload.row_bytes, plan.workload.changed_share
        while True:
            if not self._queue:
                yield "message", 0.0
                continue
            claimed_at, batch = self._queue.popleft()
            rows = sum(count for _, _, count in batch)
            yield main, self._us(costs.worker_main.of_batch(rows, size, changed))
            pool = costs.worker_pool.of_batch(rows, size, changed)
            yield "pool", self._us(pool / 2)
            yield "database", self._us(costs.database.of_batch(rows, size, changed))
            yield "pool", self._us(pool / 2)
            commit = costs.redis.of_batch(rows, size, changed) - costs.redis.batch / 2 - costs.redis.row / 2 * rows
            yield "redis", self._us(commit)
            yield "sleep", 3 * plan.fleet.round_trip_s
            self._commit(claimed_at, batch)

    def _commit(self, claimed_at: float, batch: list[tuple[float, float, int]]) -> None:
        """Rows of one interval are due together again."""
        together: dict[float, int] = {}
        for _, every_s, count in batch:
            together[every_s] = together.get(every_s, 0) + count
        for every_s, count in together.items():
            heapq.heappush(self._due, (claimed_at + every_s, every_s, count))
        if self._now >= self._settled_s:
            self._shown.rows += sum(together.values())
            self._shown.batches += 1
            self._shown.late_s += sum((self._now - due) * count for due, _, count in batch)


def check_simulation(constants: Constants, options: Options) -> Table:
    """Compare formula and simulation on fleets that are larger than this machine."""
    seconds = 2.0 if options.is_quick else 10.0
    cells = [
        compare(constants, dispatchers, processes, rate, seconds)
        for dispatchers, processes, rate in ((1, 4, 1_000), (2, 8, 10_000), (4, 32, 20_000))
    ]
    return Table(
        [
            "dispatchers, worker processes",
            "refreshes/s",
            "rows in a batch: formula",
            "simulated",
            "Redis: formula",
            "simulated",
            "lateness: formula",
            "simulated",
            "most refreshes/s: formula",
            "simulated",
        ],
        cells,
        caption="More machines: the formula beside a simulation of each claim, message and commit",
    )


def plan_of(constants: Constants, dispatchers: int, processes: int, rate: float, every_s: float = 20.0) -> Plan:
    """Plan rows of one interval."""
    fleet = Fleet(dispatchers=dispatchers, processes=processes, processes_per_worker=4, database_cores=16)
    return make_plan(Workload((Group(rate * every_s, every_s),), changed_share=0.1), fleet, constants)


def compare(constants: Constants, dispatchers: int, processes: int, rate: float, seconds: float) -> list[str]:
    """Simulate a load, and then twice what the formula gives as the limit."""
    plan = plan_of(constants, dispatchers, processes, rate)
    seen = Simulation(plan).run(seconds)
    limit = rate * plan.first.saturates_at
    most = Simulation(plan_of(constants, dispatchers, processes, 1.5 * limit, 5.0)).run(seconds / 5).rate
    return [
        f"{dispatchers}, {processes}",
        f"{rate:,.0f}",
        f"{plan.fill.rows_per_batch:.1f}",
        f"{seen.fill:.1f}",
        f"{100 * plan.part('Redis').busy:.0f} %",
        f"{100 * seen.busy['redis'] / seen.seconds:.0f} %",
        f"{1000 * plan.late_s:.1f} ms",
        f"{1000 * seen.late_s / max(1, seen.rows):.1f} ms",
        f"{limit:,.0f} ({plan.first.name})",
        f"{most:,.0f}",
    ]
