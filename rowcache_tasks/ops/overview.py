"""State of a deployment at one moment: tables, processes, queues. Read only."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import redis

from rowcache_tasks.celery.broker_state import BrokerState, QueueState
from rowcache_tasks.config.settings import Settings
from rowcache_tasks.errors.text import one_line, show_count, show_text
from rowcache_tasks.keys import DeploymentNames
from rowcache_tasks.ops.freshness import Freshness, Promise, judge
from rowcache_tasks.ops.parts import read_tables
from rowcache_tasks.ops.snapshot import Snapshot, parse_time
from rowcache_tasks.schedule.load import Load, pool_of, read_loads
from rowcache_tasks.schedule.node import NodeAwayError
from rowcache_tasks.schedule.process import (
    DISPATCHER,
    NOTE_INTERVAL_S,
    WORKER,
    Process,
    client_role,
    kind_prefix,
    parse_processes,
)

QUIET_S = NOTE_INTERVAL_S + 2.5  # a process without a note for so long is not counted on, before it counts as dead
CLIENT_NAME = "rowcache-"


@dataclass(frozen=True)
class Overview:
    """All that can be measured from outside of the processes."""

    at: float  # Unix time of the server, seconds
    tables: Mapping[str, Snapshot]
    processes: list[Process]
    settings: Settings
    freshness: Mapping[str, Freshness] = field(default_factory=dict)  # by table
    loads: Mapping[str, Load] = field(default_factory=dict)  # by table
    away: Mapping[str, str] = field(default_factory=dict)
    """Of several servers, each that does not answer -> the reason; the figures are those of the others."""
    notes_away: str = ""  # of several servers, why that of the notes of processes does not answer; empty: it does
    foreign: Sequence[str] = ()  # keys of the deployment that Redis does not read, as those of another program's type
    frozen: Sequence[str] = ()  # connections of processes that have not noted themselves for a minute, by name
    connections: Collection[int] | None = None  # ids of all connections; None: not known
    queues: Mapping[str, QueueState] | None = None  # state of both queues; None: not known, or not asked
    broker_error: str = ""  # reason why the queues are not known; empty when they are, or were not asked
    beat_scheduler: str = ""  # scheduler of `celery beat` in the settings; empty: not known
    oldest_batch_s: float | None = None  # since the claim of the oldest batch that no worker has started; None: none
    over_bytes: int = 0  # memory of Redis beyond its maxmemory, when it evicts nothing: it refuses writes

    @property
    def names(self) -> DeploymentNames:
        """Names of the queues and of the keys of all tables."""
        return self.settings.names

    @property
    def max_overdue_s(self) -> float:
        """How many seconds a row may wait: one lease at least, as after the death of a worker."""
        return max(10.0, self.settings.lease_s)

    @cached_property
    def promises(self) -> Mapping[str, Promise]:
        """The promise of each table that has one."""
        share, judged = self.busy_share or 0.0, {}
        shortage = f"too few workers: the rows of all tables need {100 * share:.0f} % of them" if share > 1 else ""
        for name, found in self.tables.items():
            table, cause = self.settings.tables[name], self._find_stop(name) or shortage
            judged[name] = judge(table, found, self.freshness[name], cause, self.oldest_batch_s)
        return {name: promise for name, promise in judged.items() if promise}

    def describe(self, table: Snapshot) -> str:
        """Return the state and the freshness of a table as a phrase for people."""
        promise = self.promises.get(table.table)
        phrases = (table.describe(), self.freshness[table.table].describe(), promise.describe() if promise else "")
        return ", ".join(filter(None, phrases))

    def _find_stop(self, table: str) -> str:
        """Return why nothing of a table is refreshed, by its processes and the broker; "" if there is no reason."""
        if self.broker_error:
            return one_line(self.broker_error, 200)
        if not self.knows_processes:
            return ""
        if not any(table in process.tables and self._is_there(process) for process in self.alive(DISPATCHER)):
            return "no dispatcher is alive"
        if not self.consumers(self.names.refresh_queue) or not any(map(self._is_there, self.alive(WORKER))):
            return "no worker is alive"
        return ""

    @property
    def knows_processes(self) -> bool:
        """Whether the notes of processes could be read: without them, none is known to be alive or dead."""
        return not self.notes_away and self.names.processes not in self.foreign

    def _is_there(self, process: Process) -> bool:
        """Whether a process notes itself in time, and the connection of its note is open, as it is until a kill."""
        is_connected = not process.connection or self.connections is None or process.connection in self.connections
        return is_connected and process.silent_s <= QUIET_S

    @property
    def pool(self) -> int:
        """Number of processes of the workers that refresh rows."""
        return sum(worker.pool for worker in pool_of(self.settings, self.processes))

    @property
    def busy_share(self) -> float | None:
        """Share of these that the demand of the measured tables keeps busy; above 1, rows get late. None: of none."""
        busy = [load.busy for load in self.loads.values() if load.busy is not None]
        return sum(busy) / self.pool if any(busy) and self.pool else None

    def describe_load(self) -> str:
        """Return the share of the workers that is needed, and the tables of which it is not known; "" without rows."""
        size = show_count(self.pool, "process", "processes")
        names = ", ".join(show_text(name) for name, load in self.loads.items() if load.demand and load.busy is None)
        share = "" if self.busy_share is None else f"{100 * self.busy_share:.0f} % of {size} of the workers"
        parts = (f"the delays of the rows ask for {share}" if share else "", names and f"not measured yet of {names}")
        return "; ".join(filter(None, parts))

    def alive(self, kind: str) -> list[Process]:
        """Return the processes of a kind that have noted themselves lately."""
        return [process for process in self.processes if process.kind == kind and not process.is_silent]

    def consumers(self, queue: str) -> int:
        """Count the workers that consume a queue: by their notes, or by the broker where it counts them."""
        state = (self.queues or {}).get(queue)
        if state is not None and state.consumers is not None:
            return state.consumers
        return sum(queue in worker.queues for worker in self.alive(WORKER))

    def length(self, queue: str) -> int | None:
        """Return the number of messages in a queue; None: not known."""
        return None if self.queues is None else self.queues[queue].length

    def oldest_s(self, queue: str) -> float | None:
        """Return the age of the oldest message of a queue; None: it is empty, or not known."""
        if queue == self.names.refresh_queue:
            return self.oldest_batch_s
        oldest_at = self.queues[queue].oldest_at if self.queues else None
        return None if oldest_at is None else max(0.0, self.at - oldest_at)


def read_overview(
    client: "redis.Redis", settings: Settings, broker: BrokerState | None = None, *, with_clients: bool = True
) -> Overview:
    """Read Redis in eight round trips, then the broker. `with_clients`: also CLIENT LIST, for the operator alone."""
    tables = [*settings.tables.values()]
    reading = read_tables(client, tables, settings.lease_s)
    names = settings.names
    pipeline = client.pipeline(transaction=False)
    pipeline.time()
    pipeline.zrange(names.processes, 0, -1, withscores=True)
    pipeline.zrange(names.queue, 0, 0, withscores=True)
    if broker:  # as an operator, who may ask
        pipeline.info("memory")
    times, noted, first, *memory = pipeline.execute(raise_on_error=False)
    seconds, microseconds = client.time() if isinstance(times, NodeAwayError) else times  # asked of the server of notes
    now = int(seconds) + int(microseconds) / 1e6
    processes = parse_processes(now, noted if isinstance(noted, list) else [])
    clients = read_clients(client) if with_clients else None
    asked = {names.processes: noted, names.queue: first}
    foreign = [key for key, reply in asked.items() if isinstance(reply, redis.ResponseError)]
    claimed_at = parse_time(first[0][1]) if isinstance(first, list) and first else None
    queues = broker.read(*names.queues) if broker else None
    return Overview(
        at=now,
        tables=reading.snapshots,
        processes=processes,
        settings=settings,
        freshness=reading.freshness,
        loads=read_loads(client, settings, processes),
        away=reading.away,
        notes_away=str(noted) if isinstance(noted, NodeAwayError) else "",
        foreign=foreign,
        frozen=find_frozen(client, clients or [], settings.deployment, processes) if isinstance(noted, list) else [],
        connections=None if clients is None else {int(entry["id"]) for entry in clients},
        queues=queues,
        broker_error=broker.error if broker else "",
        beat_scheduler=broker.beat_scheduler if broker else "",
        oldest_batch_s=None if claimed_at is None else max(0.0, now - claimed_at),
        over_bytes=max(map(excess_of, memory), default=0),
    )


def excess_of(memory: Any) -> int:
    """Return the bytes beyond maxmemory in a reply to INFO, if nothing is evicted; 0 for an error."""
    if not isinstance(memory, dict) or not memory.get("maxmemory") or "allkeys" in memory.get("maxmemory_policy", ""):
        return 0
    return max(0, int(memory["used_memory"]) - int(memory["maxmemory"]))


def read_clients(client: "redis.Redis") -> list[dict[str, Any]] | None:
    """Return the connections of the server; None: not known, as from a managed server that refuses it, or a proxy."""
    pipeline: Any = client.pipeline(transaction=False)
    own, clients = pipeline.client_id().client_list(_type="normal").execute(raise_on_error=False)
    is_known = not isinstance(clients, Exception) and any(int(entry["id"]) == own for entry in clients)
    return list(clients) if is_known else None


def find_frozen(
    client: "redis.Redis", clients: Sequence[Mapping[str, Any]], deployment: str, processes: list[Process]
) -> list[str]:
    """Return processes of the deployment that hold the connection of their note, and have no note."""
    noted = {client_role(deployment, process) for process in processes}
    database = str(client.connection_pool.connection_kwargs.get("db") or 0)
    ours = [entry for entry in clients if int(entry["age"]) > 5 and entry["db"] == database]
    names = {str(entry.get("name", "")).removeprefix(CLIENT_NAME) for entry in ours}
    prefixes = tuple(kind_prefix(deployment, kind) for kind in (DISPATCHER, WORKER))
    return sorted(name for name in names - noted if name.startswith(prefixes))
