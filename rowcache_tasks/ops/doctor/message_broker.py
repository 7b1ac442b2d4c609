"""Check of the broker: reachable and supported."""

from collections.abc import Generator

import redis
from celery import Celery
from kombu.exceptions import KombuError

from rowcache_tasks.celery.broker_state import BrokerState
from rowcache_tasks.celery.startup import check_broker, check_broker_url
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.ops.finding import Finding, fail, ok, warn
from rowcache_tasks.text import redact


def examine_broker(app: Celery | None) -> Generator[Finding, None, BrokerState | None]:
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
    return BrokerState(app)
