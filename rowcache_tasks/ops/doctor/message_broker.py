"""Check of the broker: reachable, supported, queue not full."""

from collections.abc import Iterator

import redis
from celery import Celery
from kombu.exceptions import KombuError

from rowcache_tasks.celery import REFRESH_QUEUE
from rowcache_tasks.celery.queue_length import Queue
from rowcache_tasks.celery.startup import check_broker, check_broker_url
from rowcache_tasks.config.settings import Settings
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.ops.doctor.finding import Finding, fail, ok, warn
from rowcache_tasks.text import redact, show_count

__all__ = ["examine_broker"]


def examine_broker(settings: Settings, app: Celery | None) -> Iterator[Finding]:
    """Connect to the broker of `app` and count the queued batches."""
    if app is None:
        yield warn("broker: not checked: start this as celery -A rowcache_tasks rowcache doctor")
        return
    where = redact(str(app.conf.broker_write_url))
    try:
        check_broker_url(app)
        check_broker(app)
    except ConfigError as error:
        yield fail(f"broker: {error}")
        return
    except (KombuError, redis.RedisError, OSError) as error:
        yield fail(
            f"broker at {where} cannot be reached: {str(error).rstrip('.')}: start it, or correct broker_url; "
            "no row is lost, and workers and dispatchers reconnect by themselves"
        )
        return
    waiting = Queue(app, REFRESH_QUEUE).length()
    if waiting is not None and waiting >= settings.max_queue:
        yield warn(
            f"broker at {where}: {waiting} batches wait, so dispatchers pause (rowcache_max_queue is "
            f"{settings.max_queue}): start more workers, or restart those that consume nothing"
        )
    else:
        yield ok(f"broker at {where} answers, {show_count(waiting or 0, 'batch', 'batches')} waiting")
