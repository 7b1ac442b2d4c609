"""Checks of dispatchers and workers by their traces in Redis."""

from collections.abc import Iterator
from typing import Any

import redis

from rowcache_tasks.config.settings import Settings, Table
from rowcache_tasks.ops.doctor.finding import Finding, fail, ok, warn
from rowcache_tasks.ops.health import Health, default_max_overdue_s, read_health
from rowcache_tasks.ops.status import read_snapshot
from rowcache_tasks.text import show_count

__all__ = ["examine_processes"]

DISPATCHER = "rowcache-dispatcher"
"""Name of the connections of dispatchers."""


def examine_processes(client: "redis.Redis", settings: Settings) -> Iterator[Finding]:
    """Check dispatchers by their connections, and workers by their commits."""
    tables = list(settings.tables.values())
    yield dispatchers_of(client, any(client.zcard(table.keys.schedule) for table in tables))
    max_overdue_s = default_max_overdue_s(settings)
    for table, health in zip(tables, read_health(client, tables, settings.lease_s), strict=True):
        yield commits_of(health, max_overdue_s)
        yield from failures_of(client, table)


def dispatchers_of(client: "redis.Redis", is_needed: bool) -> Finding:
    """Count the dispatchers: each blocks in BLPOP on one of its connections."""
    try:
        clients: list[dict[str, Any]] = client.client_list(_type="normal")
    except redis.ResponseError as error:
        return warn(f"dispatchers: cannot look, CLIENT LIST is refused ({error}): allow it, or look at your processes")
    commands = [entry.get("cmd") for entry in clients if entry.get("name") == DISPATCHER]
    if commands:
        return ok(f"dispatchers: {max(1, commands.count('blpop'))} connected")
    level = fail if is_needed else warn
    return level("dispatchers: none is connected, so nothing is refreshed: start celery -A rowcache_tasks beat")


def commits_of(health: Health, max_overdue_s: float) -> Finding:
    """Check that a table is refreshed in time."""
    if health.paused_s is not None:
        return warn(
            f"workers: {health.describe()}: nothing is refreshed until celery -A rowcache_tasks rowcache resume "
            f"{health.table}"
        )
    if health.is_stalled(max_overdue_s):
        return fail(
            f"workers: {health.describe()}: start celery -A rowcache_tasks worker; when they run, look at their log, "
            "at the queue in Flower, and restart those that consume nothing"
        )
    if health.waiting_s > max_overdue_s:
        return warn(f"workers: {health.describe()}: rows are late: start more workers, or raise delays")
    return ok(f"workers: {health.describe()}")


def failures_of(client: "redis.Redis", table: Table) -> Iterator[Finding]:
    """Count failing rows."""
    failing = read_snapshot(client, table).failing
    if failing:
        yield warn(
            f"{table.name}: {show_count(failing, 'row')} failed when refreshed last: "
            f"celery -A rowcache_tasks rowcache errors {table.name}"
        )
