"""Checks of a deployment: findings and remedies. Read only.

Findings are yielded one by one, so that a check that hangs is seen.
"""

from collections.abc import Generator, Iterator

import redis
from celery import Celery

from rowcache_tasks.config.settings import Settings
from rowcache_tasks.ops.doctor.liveness import examine_processes
from rowcache_tasks.ops.doctor.message_broker import examine_broker
from rowcache_tasks.ops.doctor.redis_server import examine_server
from rowcache_tasks.ops.doctor.source_tables import examine_database
from rowcache_tasks.ops.doctor.table_keys import examine_keys
from rowcache_tasks.ops.finding import Finding, fail, ok
from rowcache_tasks.text import redact, show_count

__all__ = ["Finding", "examine"]


def examine(settings: Settings, client: "redis.Redis", app: Celery | None) -> Iterator[Finding]:
    """Check every part; without `app`, whose broker is checked, all but the broker."""
    yield ok(f"settings are valid: {show_count(len(settings.tables), 'table')}: {', '.join(settings.tables)}")
    is_usable = yield from examine_redis(settings, examine_keyspace(settings, client))
    yield from examine_database(settings)
    broker = yield from examine_broker(app)
    if is_usable:
        yield from examine_redis(settings, examine_processes(client, settings, broker))


def examine_keyspace(settings: Settings, client: "redis.Redis") -> Iterator[Finding]:
    """Check the server and the keys in it."""
    yield from examine_server(client, redact(settings.redis_url))
    for table in settings.tables.values():
        yield from examine_keys(client, table)


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
