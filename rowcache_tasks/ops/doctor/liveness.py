"""Checks of processes, queues and tables by what they note in Redis."""

from collections.abc import Iterator

import redis

from rowcache_tasks.celery.broker_state import BrokerState
from rowcache_tasks.config.settings import Settings
from rowcache_tasks.ops.finding import Finding, ok
from rowcache_tasks.ops.overview import Overview, read_overview
from rowcache_tasks.ops.problem import describe_queue, find_problems
from rowcache_tasks.ops.snapshot import default_max_overdue_s
from rowcache_tasks.schedule.process import DISPATCHER, WORKER

MAX_NAMES = 5


def examine_processes(client: "redis.Redis", settings: Settings, broker: BrokerState | None) -> Iterator[Finding]:
    """Yield what is alive and in time, then the problems."""
    found = read_overview(client, settings, broker)
    for kind in (DISPATCHER, WORKER):
        if found.alive(kind):
            yield ok(f"{kind}s: {describe_alive(found, kind)}")
    for queue in found.names.queues:
        if found.length(queue) is not None and found.consumers(queue):
            yield ok(describe_queue(found, queue))
    limit_s = default_max_overdue_s(settings)
    for table in found.tables.values():
        if table.waiting_s <= limit_s and table.paused_s is None:
            yield ok(table.describe())
    yield from find_problems(found, settings)


def describe_alive(found: Overview, kind: str) -> str:
    """Count the living processes of a kind, and name some."""
    names = [process.name for process in found.alive(kind)]
    return f"{len(names)} alive: {', '.join(names[:MAX_NAMES])}{', …' if len(names) > MAX_NAMES else ''}"
