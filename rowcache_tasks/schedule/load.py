"""Load of tables: their demand beside the measured capacity of the workers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import redis

from rowcache_tasks.config.settings import Settings
from rowcache_tasks.schedule.claim import MAX_SHARED
from rowcache_tasks.schedule.demand import Demand, read_demands
from rowcache_tasks.schedule.process import WORKER, Process


@dataclass(frozen=True, slots=True)
class Load:
    """Load of one table; refreshes a second."""

    demand: float  # what the delays of its rows ask for
    capacity: float | None  # what the workers can do beside the demand of the other tables; None: not measured
    busy: float | None  # processes that the demand keeps busy; None: not measured


def read_loads(client: "redis.Redis", settings: Settings, processes: Sequence[Process]) -> dict[str, Load]:
    """Return the load of each table by its name; two round trips."""
    return divide_capacity(settings, read_demands(client, [*settings.tables.values()]), pool_of(settings, processes))


def pool_of(settings: Settings, processes: Sequence[Process]) -> list[Process]:
    """Return the live workers that refresh rows and have noted the size of their pools."""
    queue = settings.names.refresh_queue
    return [each for each in processes if each.kind == WORKER and not each.is_silent and queue in each.queues]


def divide_capacity(settings: Settings, demands: Mapping[str, Demand], workers: Sequence[Process]) -> dict[str, Load]:
    """Return the load of each table, as if all messages were as full as the table and the settings allow.

    A row of a table that is not measured yet counts for others as one of the dearest table.
    """
    size, found = sum(worker.pool for worker in workers), dict[str, Load]()
    most_rows = {
        name: min(MAX_SHARED * settings.batch_size, rows / max(1, size)) for name, (_, rows) in demands.items()
    }
    row_s = {name: seconds_of_row(name, workers, max(1, rows)) for name, rows in most_rows.items()}
    dearest_s = max(filter(None, row_s.values()), default=0.0)
    caps = {name: settings.tables[name].max_rate or math.inf for name in demands}
    counted = {name: min(rate, caps[name]) * (row_s[name] or dearest_s) for name, (rate, _) in demands.items()}
    for name, each_s in row_s.items():
        free = max(0.0, size - sum(counted.values()) + counted[name])
        capacity = min(caps[name], free / each_s) if each_s and size else None
        found[name] = Load(demands[name].rate, capacity, counted[name] if each_s else None)
    return found


def seconds_of_row(table: str, workers: Sequence[Process], rows: float) -> float | None:
    """Return how long a process needs for a row in a message of so many; None: no worker has measured it."""
    measured = [(worker.pool, *worker.costs[table]) for worker in workers if table in worker.costs]
    size = sum(pool for pool, _, _ in measured)
    return sum(pool * (message_s / rows + row_s) for pool, message_s, row_s in measured) / size if size else None
