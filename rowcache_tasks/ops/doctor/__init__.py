"""Checks of a deployment: findings and remedies. Read only.

Findings are yielded one by one, so that a check that hangs is seen.
"""

from collections.abc import Generator, Iterator
from dataclasses import replace

import redis
from celery import Celery
from kombu.exceptions import KombuError

from rowcache_tasks.celery.broker_state import BrokerState
from rowcache_tasks.celery.defaults import RABBITMQ
from rowcache_tasks.celery.startup import check_broker, check_broker_url
from rowcache_tasks.config.settings import Settings, Table
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import redact, show_count
from rowcache_tasks.ops.doctor.failover import examine_clocks, examine_sentinels
from rowcache_tasks.ops.doctor.rabbitmq import examine_rabbitmq
from rowcache_tasks.ops.doctor.redis_server import examine_servers, nodes_of
from rowcache_tasks.ops.doctor.slots import examine_slots
from rowcache_tasks.ops.doctor.source_tables import examine_database
from rowcache_tasks.ops.doctor.table_keys import examine_keys
from rowcache_tasks.ops.finding import Finding, fail, ok, warn
from rowcache_tasks.ops.overview import read_overview
from rowcache_tasks.ops.problem import describe_queue, find_problems
from rowcache_tasks.schedule.growth import Growth
from rowcache_tasks.schedule.layout import layout_problem, read_layout
from rowcache_tasks.schedule.node import NodeAwayError
from rowcache_tasks.schedule.process import DISPATCHER, WORKER
from rowcache_tasks.schedule.servers import Servers

__all__ = ["Finding", "examine"]

MAX_NAMES = 5


def examine(settings: Settings, client: "redis.Redis", app: Celery | None) -> Iterator[Finding]:
    """Check every part; without `app`, whose broker is checked, all but the broker."""
    yield ok(f"settings are valid: {show_count(len(settings.tables), 'table')}: {', '.join(settings.tables)}")
    is_usable = yield from examine_redis(settings, examine_keyspace(settings, client))
    yield from examine_database(settings)
    broker = yield from examine_broker(app, settings.names.schedule_queue)
    if is_usable:
        yield from examine_redis(settings, examine_processes(client, settings, broker))


def examine_keyspace(settings: Settings, client: "redis.Redis") -> Iterator[Finding]:
    """Check the server and the keys in it."""
    nodes = nodes_of(settings, client)
    for node in nodes:
        yield from examine_sentinels(node.client)
    yield from examine_servers(settings, client, nodes)
    if isinstance(client, Servers):
        yield from examine_slots(client)
    yield from examine_clocks(nodes)
    yield from examine_layout(settings, client)
    for table in settings.tables.values():
        for part in table.parts:
            try:
                found = [*examine_keys(client, part)]
            except NodeAwayError:
                continue  # named above
            yield from found if table.partitions == 1 else (each for each in found if each.level != "ok")


def examine_layout(settings: Settings, client: "redis.Redis") -> Iterator[Finding]:
    """Check that all keys of a table can be on one node, and that its partitions are those of its keys."""
    for table in settings.tables.values():
        try:
            if problem := layout_problem(client, table):
                yield fail(f"partitions: {problem}")
            elif table.partitions > 1:
                yield ok(f"{table.name}: {table.partitions} partitions, as its keys in Redis")
                yield from examine_growth(client, table)
        except NodeAwayError:
            continue  # named above


def examine_growth(client: "redis.Redis", table: Table) -> Iterator[Finding]:
    """Check that no row is left at the places that the table has had before it grew."""
    before = table.growing_from or read_layout(client.get(table.layout)).get("from", 0)
    left = Growth(client, replace(table, growing_from=before)).count_left() if before else 0
    if left:
        rows = f"{table.name} has {table.partitions}, and {show_count(left, 'row')}"
        yield warn(
            f"partitions: {rows} at the keys of {before}, where they were before: run rowcache grow {table.name}"
        )


def examine_redis(settings: Settings, findings: Iterator[Finding]) -> Generator[Finding, None, bool]:
    """Yield findings up to the first error of Redis, and the error; return whether the server can be reached."""
    try:
        yield from findings
    except (redis.ConnectionError, redis.TimeoutError) as error:
        yield fail(
            f"Redis at {redact(settings.redis_url)} cannot be used: {str(error).rstrip('.')}: "
            "start it, or correct rowcache_redis_url; readers, workers and dispatchers reconnect by themselves"
        )
        return False
    except redis.ResponseError as error:
        yield fail(f"Redis refuses a command: {error}: allow it (ACL SETUSER), or use the login of the operator")
    return True


def examine_broker(app: Celery | None, schedule_queue: str) -> Generator[Finding, None, BrokerState | None]:
    """Connect to the broker of `app`; return None when its queues cannot be read."""
    if app is None:
        yield warn("broker: not checked: start this as celery -A rowcache_tasks rowcache doctor")
        return None
    where = redact(str(app.conf.broker_write_url))
    try:
        check_broker_url(app)
        check_broker(app)
    except ConfigError as error:
        yield fail(f"broker: {error}")
        return None
    except (KombuError, redis.RedisError, OSError) as error:
        yield fail(
            f"broker at {where} cannot be reached: {str(error).rstrip('.')}: start it, or correct broker_url; "
            "no row is lost, and workers and dispatchers reconnect by themselves"
        )
        return None
    yield ok(f"broker at {where} answers")
    if where.partition(":")[0] in RABBITMQ:
        yield from examine_rabbitmq(app, where, schedule_queue)
    return BrokerState(app)


def examine_processes(client: "redis.Redis", settings: Settings, broker: BrokerState | None) -> Iterator[Finding]:
    """Yield the processes and tables that are in order, then the problems."""
    found = read_overview(client, settings, broker)
    for kind in (DISPATCHER, WORKER):
        if names := [process.name for process in found.alive(kind)]:
            more = ", …" if len(names) > MAX_NAMES else ""
            yield ok(f"{kind}s: {len(names)} alive: {', '.join(names[:MAX_NAMES])}{more}")
    for queue in found.names.queues:
        if found.length(queue) is not None and found.consumers(queue):
            yield ok(describe_queue(found, queue))
    for table in found.tables.values():
        if table.is_known and table.waiting_s <= found.max_overdue_s and table.paused_s is None:
            yield ok(found.describe(table))
    yield from find_problems(found)
