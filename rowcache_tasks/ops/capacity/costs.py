"""Own what the batches, rows and looks of a workload cost on the machines of a fleet, and how long they take."""

import math

from rowcache_tasks.ops.capacity.constants import Constants, Cost
from rowcache_tasks.ops.capacity.fill import Fill, Rhythm, Start, fill_batches
from rowcache_tasks.ops.capacity.fleet import Fleet, queue_share
from rowcache_tasks.ops.capacity.workload import Workload

__all__ = ["TRIPS_PER_PASS", "TRIPS_PER_TASK", "TRIPS_TO_START", "Costs"]

TRIPS_PER_PASS = 2
"""Round trips of a dispatcher: claim, send."""
TRIPS_TO_START = 2
"""From a claim until a worker has the message: send, fetch; half of the claim, and of the answer to the worker."""
TRIPS_PER_TASK = 2
"""Round trips of a worker process: SELECT, commit."""


class Costs:
    """What batches, rows and looks of a workload cost on the machine of a fleet; seconds."""

    def __init__(self, workload: Workload, fleet: Fleet, constants: Constants) -> None:
        self.fleet = fleet
        self.constants = constants
        self.gets = workload.gets_per_s * constants.get_us / 1e6 / fleet.speed
        """Processor time a second of Redis for the GETs of readers."""
        self.stretch = 1.0
        """How many times as long work takes, as it waits for cores: see settle."""
        self._workload = workload
        self._row = (workload.row_bytes, workload.changed_share)

    def cores(self, cost: Cost, fill: Fill, processes: float = 1) -> float:
        """Give the processor time a second of a part."""
        return self._seconds(processes * cost.second + self.amount(cost, fill))

    def amount(self, cost: Cost, fill: Fill) -> float:
        """Give how much of a cost there is in a second, in its own unit."""
        return fill.looks_per_s * cost.look + fill.batches_per_s * cost.of_batch(fill.rows_per_batch, *self._row)

    def task_s(self, rows: float) -> float:
        """Give how long a worker process has a batch: its own time, and that of the servers it waits for."""
        costs = (self.constants.worker_pool, self.constants.database, self.constants.redis)
        work = sum(cost.of_batch(rows, *self._row) for cost in costs)
        return self._lasts(work) + TRIPS_PER_TASK * self.fleet.round_trip_s

    def dispatch_s(self, rows: float) -> float:
        """Give how long a dispatcher has a full batch: then it makes no pause."""
        own, server = self.constants.dispatcher, self.constants.redis
        work = own.of_batch(rows, *self._row) + (server.batch + server.row * rows) / 2
        return self._seconds(work) + TRIPS_PER_PASS * self.fleet.round_trip_s

    def start_s(self, processes: int) -> Start:
        """Give how long after its claim a batch is started, by batches a second and their rows."""

        def start(batches_per_s: float, rows: float) -> float:
            task_s = self.task_s(rows)
            busy = batches_per_s * task_s / processes
            if busy >= 1:
                return math.inf
            waits_s = task_s * queue_share(busy, processes) / 2
            return waits_s + self._lasts(self.constants.start_us) + TRIPS_TO_START * self.fleet.round_trip_s

        return start

    def rhythm(self) -> Rhythm:
        """Give the loop of a dispatcher."""
        own, server, trip_s = self.constants.dispatcher, self.constants.redis, self.fleet.round_trip_s
        return Rhythm(
            pass_s=self._lasts(self.constants.pass_us) + TRIPS_PER_PASS * trip_s,
            row_s=self._lasts(self.constants.row_pass_us),
            linger_s=self.fleet.linger_s,
            poll_s=0.9 * self.fleet.poll_interval_s,
            batch_s=self._lasts(own.batch + server.batch / 2) + TRIPS_PER_PASS * trip_s,
        )

    def cores_of(self, fill: Fill, dispatchers: int, workers: int) -> float:
        """Give the processor time a second of all parts."""
        of = self.constants
        parts = ((of.dispatcher, dispatchers), (of.worker_main, workers), (of.worker_pool, 1), (of.redis, 1))
        return sum(self.cores(cost, fill, count) for cost, count in (*parts, (of.database, 1))) + self.gets

    def settle(self, dispatchers: int, workers: int, processes: int) -> Fill:
        """Give how full batches are, with the stretch that they lead to: more of it makes them fuller and cheaper."""
        fill = self.fill(dispatchers, processes)
        if self.fleet.cores is not None:
            for _ in range(30):
                stretch = self.fleet.stretch(self.cores_of(fill, dispatchers, workers))
                self.stretch += (stretch - self.stretch) / 3
                fill = self.fill(dispatchers, processes)
        return fill

    def fill(self, dispatchers: int, processes: int) -> Fill:
        """Give how full batches are with so many dispatchers and worker processes."""
        work = self._workload
        return fill_batches(
            work.refreshes_per_s,
            self.fleet.batch_size,
            self.rhythm(),
            dispatchers=dispatchers,
            tables=work.tables,
            together=work.together,
            start=self.start_s(processes),
        )

    def _lasts(self, microseconds: float) -> float:
        """Give how long so much processor time takes by the clock."""
        return self.stretch * self._seconds(microseconds)

    def _seconds(self, microseconds: float) -> float:
        return microseconds / 1e6 / self.fleet.speed
