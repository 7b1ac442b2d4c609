"""Load of tables: refreshes a second that the delays of their rows ask for, beside the capacity of the workers.

The demand is counted in `delay:` by score and by rank, whoever wrote it, so that nothing has to be kept right. Some 40
commands for each table, and 17 for each factor of two in its delays: as cheap for a million rows as for ten.
Within 3 %.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, NamedTuple

import redis

from rowcache_tasks.config.settings import Settings, Table
from rowcache_tasks.schedule.claim import MAX_SHARED
from rowcache_tasks.schedule.process import WORKER, Process

EDGES = (0.0, *(2.0**k for k in range(-5, 29)), math.inf)  # bounds of classes of delays, seconds; the longest are years
POINTS = 16  # parts of a class, between whose first and last rows the refreshes a second are taken as a straight line
SHORTEST_S = 0.01  # no row is refreshed more often, whatever a foreign client has written


class Demand(NamedTuple):
    """Demand of one table."""

    rate: float  # refreshes a second
    rows: int  # rows with a delay above 0


def interval_of(table: Table, delay_s: float, margin_s: float = 0.0) -> float:
    """Return the seconds after which a row is refreshed again."""
    wait_s = max(SHORTEST_S, table.start_of(delay_s, 0.0)[0])
    if table.max_staleness_s is None:
        return wait_s
    wait_s = min(wait_s, table.max_staleness_s)
    return wait_s - min(margin_s, wait_s / 4)


def read_demands(client: "redis.Redis", tables: Sequence[Table]) -> dict[str, Demand]:
    """Return the demand of each table by its name; two round trips in all. A key of another type is an empty one."""
    parts = [(table, part) for table in tables for part in table.parts]
    pipeline = client.pipeline(transaction=False)
    for _, part in parts:
        pipeline.hget(part.keys.state, "margin_s")
        pipeline.zcount(part.keys.delay, "-inf", 0)
        for low, high in pairwise(EDGES):
            pipeline.zcount(part.keys.delay, f"({low!r}", high)
    replies = [0 if isinstance(reply, Exception) else reply for reply in pipeline.execute(raise_on_error=False)]
    size = len(EDGES) + 1
    found: list[tuple[Table, float, int, int]] = []
    for place, (table, part) in enumerate(parts):
        margin, rank, *counts = replies[place * size : (place + 1) * size]
        for count in counts:
            steps = min(POINTS, count - 1)
            for step in range(steps + 1):
                at = rank + step * (count - 1) // max(1, steps)
                pipeline.zrange(part.keys.delay, at, at, withscores=True)
            if count:
                found.append((table, parse_margin(margin), count, steps + 1))
            rank += count
    points = iter(pipeline.execute())
    rates, rows = dict.fromkeys(tables, 0.0), dict.fromkeys(tables, 0)
    for table, margin_s, count, size in found:
        scores = [float(point[0][1]) for point in islice(points, size) if point]
        rates[table] += count * mean([1 / interval_of(table, score, margin_s) for score in scores], count)
        rows[table] += count
    return {table.name: Demand(rates[table], rows[table]) for table in tables}


def mean(rates: Sequence[float], count: int) -> float:
    """Return the mean of `count` rates, of which these are the first, the last, and some evenly between, in order."""
    if not rates:
        return 0.0  # The rows have gone since.
    if count == len(rates):
        return sum(rates) / count
    return (sum(rates) - (rates[0] + rates[-1]) / 2) / max(1, len(rates) - 1)


def parse_margin(value: Any) -> float:
    """Parse the margin of a promise; 0 without one."""
    try:
        margin_s = float(value or 0)
    except ValueError:
        return 0.0
    return margin_s if 0 <= margin_s < math.inf else 0.0


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
