"""Own the simulation of more machines than there are: dispatchers, workers, one Redis, one database, event by event.

The loop of a dispatcher is that of dispatch.py, and each step takes what the constants of the model say. Redis serves
one after another, and so do a worker's main process, each of its processes, and each core of the database. What a
formula leaves out is here: everybody waits for everybody, and rows that were claimed together are due together again.
Seeded: the same arguments give the same result.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from rowcache_tasks.dispatch.backpressure import linger_s
from rowcache_tasks.dispatch.dispatcher import Limits
from rowcache_tasks.ops.capacity import Plan
from rowcache_tasks.ops.capacity.costs import TRIPS_PER_PASS, TRIPS_PER_TASK

MAX_QUEUE = Limits(0).max_queue

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
        self._idle: deque[Steps] = deque()
        self._behind = 0
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
            self._idle.append(steps)
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
        poll_s, own = 0.9 * fleet.poll_interval_s, costs.dispatcher
        # What a pass took beside the work when it was measured: to wake up.
        slack = costs.pass_us - own.batch - costs.redis.batch / 2
        while True:
            if self._behind >= MAX_QUEUE and len(self._queue) >= MAX_QUEUE:
                yield "sleep", poll_s
                continue
            claimed_at, behind, batch, count = self._now, self._behind, [], 0
            while self._due and self._due[0][0] <= claimed_at and count < fleet.batch_size:
                batch.append(heapq.heappop(self._due))
                count += batch[-1][2]
            self._behind += bool(batch)
            next_due = self._due[0][0] if self._due else math.inf
            if not batch:
                yield "redis", self._us(costs.redis.look)
                yield "dispatcher", self._us(own.look)
            else:
                yield "redis", self._us(costs.redis.batch / 2 + costs.redis.row / 2 * count)
                yield "dispatcher", self._us(own.batch + own.row * count)
                yield "sleep", TRIPS_PER_PASS * fleet.round_trip_s
                self._send(claimed_at, batch)
            pause_s = max(0.0, min(poll_s, next_due - self._now))
            if batch:
                lingers_s = linger_s(behind, poll_s)
                pause_s = 0.0 if count >= fleet.batch_size else max(pause_s, lingers_s) + max(0.0, self._us(slack))
            yield "sleep", pause_s

    def _send(self, claimed_at: float, batch: list[tuple[float, float, int]]) -> None:
        self._queue.append((claimed_at, batch))
        if self._idle:
            self._at(self._now, self._idle.popleft())

    def _process(self, main: str) -> Steps:
        """A worker process: its main process fetches a batch for it; it reads, commits, and takes the next."""
        plan, costs = self.plan, self.plan.constants
        size, changed = plan.workload.row_bytes, plan.workload.changed_share
        sent_us = costs.dispatcher.batch + costs.redis.batch / 2
        hop_s = max(0.0, self._us(costs.start_us - sent_us)) + plan.fleet.round_trip_s
        while True:
            if not self._queue:
                yield "message", 0.0
                continue
            claimed_at, batch = self._queue.popleft()
            rows = sum(count for _, _, count in batch)
            fetch = self._us(costs.worker_main.of_batch(rows, size, changed))
            yield main, fetch / 2
            yield "sleep", max(0.0, hop_s - fetch / 2)
            self._behind -= 1
            pool = costs.worker_pool.of_batch(rows, size, changed)
            yield "pool", self._us(pool / 2)
            yield "database", self._us(costs.database.of_batch(rows, size, changed))
            yield "pool", self._us(pool / 2)
            commit = costs.redis.of_batch(rows, size, changed) - costs.redis.batch / 2 - costs.redis.row / 2 * rows
            yield "redis", self._us(commit)
            yield "sleep", TRIPS_PER_TASK * plan.fleet.round_trip_s
            self._commit(claimed_at, batch)
            yield main, fetch / 2  # what it notes and tells of the task afterwards

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
