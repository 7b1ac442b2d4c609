"""Own the plan: what a workload uses on a fleet, part by part, and what saturates first."""

import math
from dataclasses import dataclass, replace

from rowcache_tasks.ops.capacity.connection import Connections, count_connections
from rowcache_tasks.ops.capacity.constants import Constants
from rowcache_tasks.ops.capacity.costs import Costs
from rowcache_tasks.ops.capacity.fill import Fill
from rowcache_tasks.ops.capacity.fleet import Fleet
from rowcache_tasks.ops.capacity.workload import Workload

__all__ = ["Part", "Plan", "make_plan"]

MACHINE = "the machine"
"""The part that all others share, when they do."""
PLENTY = 10**6
"""So many worker processes that no batch waits for one."""
SPARE = 2
"""Dispatchers and worker processes at least: one may die."""
GET_BYTES = 40
"""Of a question for a row."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a deployment under a load."""

    name: str
    count: float
    """Processes, or cores of a server."""
    cores: float
    """Processor time a second of all of them together; seconds."""
    busy: float
    """How many of them are busy on average. A worker process that waits for an answer is; a dispatcher is not."""
    saturates_at: float = math.inf
    """Times this load at which it is busy all the time: then batches are full, so this is more than 1 / share."""
    is_one: bool = False
    """More of them cannot be started."""

    @property
    def share(self) -> float:
        """How busy it is, 0 to 1 and above."""
        return self.busy / self.count


@dataclass(frozen=True, slots=True)
class Plan:
    """What a workload uses on a fleet."""

    workload: Workload
    fleet: Fleet
    constants: Constants
    fill: Fill
    parts: tuple[Part, ...]
    """Dispatchers, main processes of workers, worker processes, Redis, database, perhaps their machine: see `part`."""
    workers: int
    """--concurrency of each is processes_per_worker."""
    redis_bytes: float
    """Memory of Redis for rows and schedule."""
    net_in: float
    """Bytes a second that Redis receives."""
    net_out: float
    """Bytes a second that Redis sends, answers to GETs included."""
    late_s: float
    """From due to committed, on average; seconds. inf: something saturates."""
    scheduling_s: float
    """How long schedule_table takes."""
    catch_up_s: float
    """How long all rows take when all are due at once, as after an outage; inf: this fleet cannot."""
    connections: Connections

    def part(self, name: str) -> Part:
        """Give a part by its name."""
        return next(part for part in self.parts if part.name == name)

    @property
    def cores(self) -> float:
        """Processor time a second of all parts together."""
        return sum(part.cores for part in self.parts if part.name != MACHINE)

    @property
    def queries_per_s(self) -> float:
        """SELECTs a second: one for each batch."""
        return self.fill.batches_per_s

    @property
    def first(self) -> Part:
        """The part that saturates first."""
        return min(self.parts, key=lambda part: part.saturates_at)

    @property
    def wall(self) -> Part:
        """The part that saturates first when as many processes are started as are needed."""
        return min((part for part in self.parts if part.is_one), key=lambda part: part.saturates_at)

    @property
    def warm_up_s(self) -> float:
        """From schedule_table until each row is cached: its first refreshes are spread over the interval."""
        return max(self.scheduling_s + self.workload.longest_s, self.catch_up_s)


def make_plan(workload: Workload, fleet: Fleet, constants: Constants) -> Plan:
    """Compute what a workload uses on a fleet; the counts that the fleet leaves open are those that it needs."""
    costs, rate = Costs(workload, fleet, constants), workload.refreshes_per_s
    full = Fill(fleet.batch_size, *[rate / fleet.batch_size] * 3)
    dispatching = full.batches_per_s * costs.dispatch_s(fleet.batch_size)
    dispatchers = fleet.dispatchers or max(SPARE, fleet.needed(dispatching))

    processes = fleet.processes or count_processes(costs, costs.fill(dispatchers, PLENTY))
    workers = math.ceil(processes / fleet.processes_per_worker)
    fill = costs.settle(dispatchers, workers, processes)
    start_s = costs.start_s(processes)(fill.batches_per_s, fill.rows_per_batch)
    late_s = fill.waits_s + start_s + costs.task_s(fill.rows_per_batch)
    parts = make_parts(costs, fill, full, (dispatchers, workers, processes), dispatching)
    return Plan(
        workload=workload,
        fleet=fleet,
        constants=constants,
        fill=fill,
        parts=parts,
        workers=workers,
        redis_bytes=workload.rows * (constants.memory_row + constants.memory_byte * workload.row_bytes),
        net_in=costs.amount(constants.net_in, fill) + workload.gets_per_s * GET_BYTES,
        net_out=costs.amount(constants.net_out, fill) + workload.gets_per_s * workload.row_bytes,
        late_s=late_s if all(part.saturates_at > 1 for part in parts) else math.inf,
        scheduling_s=workload.rows / constants.scheduled_per_s / fleet.speed,
        catch_up_s=workload.rows / rate / min(part.saturates_at for part in parts),
        connections=count_connections(
            dispatchers, workers, processes, readers=fleet.readers, senders=fleet.senders, fillers=fleet.fillers
        ),
    )


def count_processes(costs: Costs, fill: Fill) -> int:
    """Give how many worker processes are needed; enough workers for their main processes, too."""
    fleet = costs.fleet
    refreshing = fleet.needed(fill.batches_per_s * costs.task_s(fill.rows_per_batch))
    fetching = fleet.needed(costs.cores(costs.constants.worker_main, fill))
    workers = max(math.ceil(max(SPARE, refreshing) / fleet.processes_per_worker), fetching)
    return workers * fleet.processes_per_worker


def make_parts(
    costs: Costs, fill: Fill, full: Fill, counts: tuple[int, int, int], dispatching: float
) -> tuple[Part, ...]:
    """Make the parts of a deployment for batches as they are filled; and as full as they get, for the limits."""
    of, gets = costs.constants, costs.gets
    dispatchers, workers, processes = counts
    claims = costs.cores(of.dispatcher, fill, dispatchers)
    fetching = costs.cores(of.worker_main, fill, workers)
    pool = costs.cores(of.worker_pool, fill)
    database = costs.cores(of.database, fill)
    server = costs.cores(of.redis, fill) + gets

    def busy(at: Fill) -> float:
        return at.batches_per_s * costs.task_s(at.rows_per_batch)

    parts = (
        limit(Part("dispatchers", dispatchers, claims, claims), dispatching),
        limit(
            Part("worker main processes", workers, fetching, fetching), costs.cores(of.worker_main, full, processes=0)
        ),
        limit(Part("worker processes", processes, pool, busy(fill)), busy(full) / costs.stretch),
        limit(Part("Redis", 1, server, server, is_one=True), costs.cores(of.redis, full, processes=0) + gets),
        limit(
            Part("database", costs.fleet.database_cores, database, database, is_one=True),
            costs.cores(of.database, full),
        ),
    )
    machine = costs.fleet.cores
    if machine is None:
        return parts
    used = sum(part.cores for part in parts)
    least = costs.cores_of(full, 0, 0)
    return (*parts, limit(Part(MACHINE, machine, used, used, is_one=True), least))


def limit(part: Part, busy_when_full: float) -> Part:
    """Say when a part saturates, from how much of it would be busy if batches were full at today's load."""
    return replace(part, saturates_at=part.count / busy_when_full if busy_when_full else math.inf)
