"""Own the checks before a worker or a dispatcher starts: one line and exit status 1 instead of failing later.

Servers that do not answer are tried for rowcache_start_timeout seconds, visibly: after a reboot everything starts at
once. What is wrong for good stops the process at once.
"""

import logging
import re
import ssl
import sys
import time
from collections.abc import Callable

import redis
from celery import Celery
from kombu.exceptions import KombuError

from rowcache_tasks.config.settings import Settings, load_settings
from rowcache_tasks.database.source import Source, create_source_engine
from rowcache_tasks.errors import ConfigError, RowCacheError, SourceError
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.text import redact

__all__ = ["check_dispatcher", "check_worker", "say"]

logger = logging.getLogger(__name__)

MIN_CONNECTIONS = 3
"""A dispatcher has two that it keeps, and one for claims; a worker two for each thread."""


def check_dispatcher(app: Celery) -> Settings:
    """Check the settings, Redis and the broker; return the settings or exit with status 1 and one line."""
    try:
        settings = load_settings()
        check_connections(settings.redis_url)
        check_broker_url(app)
        wait_for("Redis", redact(settings.redis_url), lambda: check_redis(settings.redis_url), settings.start_timeout_s)
        wait_for(
            "the broker", redact(str(app.conf.broker_write_url)), lambda: check_broker(app), settings.start_timeout_s
        )
    except RowCacheError as error:
        say(str(error))
        raise SystemExit(1) from None
    return settings


def check_worker(app: Celery) -> None:
    """Check what a dispatcher needs and the database with every table; exit with status 1 and one line if wrong."""
    settings = check_dispatcher(app)
    try:
        if settings.database_url is None:
            raise ConfigError("rowcache_database_url is not set: a worker needs it, e.g. postgresql+psycopg://host/db")
        url = settings.database_url
        wait_for("the database", redact(url), lambda: check_database(settings, url), settings.start_timeout_s)
    except RowCacheError as error:
        say(str(error))
        raise SystemExit(1) from None


def check_connections(url: str) -> None:
    """Raise ConfigError if the URL allows fewer connections than a process needs: they would fail one after another."""
    with connect(url, "check") as client:
        allowed = client.connection_pool.max_connections
    if allowed < MIN_CONNECTIONS:
        raise ConfigError(
            f"rowcache_redis_url is {redact(url)!r}: max_connections is {allowed}, and a process needs "
            f"{MIN_CONNECTIONS} or more: leave it out"
        )


def say(line: str) -> None:
    """Write a line to the terminal: a worker has not set up its logging yet, and beat logs what goes to stderr."""
    print(f"rowcache_tasks: {line}", file=sys.__stderr__, flush=True)


def wait_for(what: str, where: str, check: Callable[[], None], timeout_s: float) -> None:
    """Call `check` until it does not raise a connection error; raise ConfigError after `timeout_s` seconds.

    A certificate or a password that is wrong is not waited for.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return check()
        except (redis.ConnectionError, redis.TimeoutError, SourceError, KombuError, OSError) as error:
            left_s = deadline - time.monotonic()
            if (wrong := lasting_cause(error)) is not None:
                raise ConfigError(f"{what} at {where} {wrong}") from error
            reason = " ".join(str(error).split())[:200]
            if left_s <= 0:
                raise ConfigError(f"{what} at {where} cannot be reached after {timeout_s:g} s: {reason}") from error
            say(f"waiting for {what} at {where} ({left_s:.0f} s left): {reason}")
            time.sleep(min(1.0, max(0.05, left_s)))


def lasting_cause(error: BaseException | None) -> str | None:
    """Say what no waiting mends, if that is what the error comes from."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"cannot be trusted: its certificate is refused: {error.verify_message}"
        if isinstance(error, redis.AuthenticationError):
            return f"refuses the login: {error}"
        error = error.__cause__ or error.__context__
    return None


def check_redis(url: str) -> None:
    """Refuse a Redis Cluster; warn when the server may evict keys, which would lose the schedule."""
    client = connect(url, "start")
    try:
        info = client.info()
    except redis.AuthenticationError as error:
        raise ConfigError(f"rowcache_redis_url {redact(url)} was refused: {error}") from error
    except redis.ResponseError as error:
        raise ConfigError(f"rowcache_redis_url {redact(url)} does not answer INFO: {error}") from error
    finally:
        client.close()
    if info.get("cluster_enabled"):
        raise ConfigError(
            f"rowcache_redis_url {redact(url)} is a Redis Cluster: "
            "found cluster_enabled:1, allowed is a single server or a failover pair"
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy.startswith("allkeys") and info.get("maxmemory"):
        logger.warning("Redis may evict the schedule: maxmemory-policy is %s, use noeviction", policy)


def check_broker_url(app: Celery) -> None:
    """Refuse the URL of a Redis Cluster: Celery has no such transport."""
    for url in (app.conf.broker_read_url, app.conf.broker_write_url):
        if "cluster" in str(url or "").partition("://")[0]:
            raise ConfigError(
                f"broker_url is {redact(str(url))!r}: Celery cannot use a Redis Cluster as its broker; "
                "allowed are redis://, rediss://, sentinel:// or, for high availability, amqp:// (RabbitMQ)"
            )


def check_broker(app: Celery) -> None:
    """Connect to the broker once. Refuse a URL that Celery cannot read, and a node of a Redis Cluster."""
    url = redact(str(app.conf.broker_write_url))
    try:
        connection = app.connection_for_write()
        failures = (*connection.connection_errors, *connection.channel_errors)
    except (KeyError, ValueError, ImportError) as error:
        raise unreadable(url, error) from error
    with connection:
        try:
            connection.connect()
            client = getattr(connection.default_channel, "client", None)
        except failures as error:
            raise OSError(str(error)) from error
        except (ValueError, ImportError) as error:
            raise unreadable(url, error) from error
        if isinstance(client, redis.Redis) and is_cluster_node(client):
            raise ConfigError(
                f"broker_url is {url!r}: found a node of a Redis Cluster, which Celery cannot use as its broker; "
                "allowed are a single Redis server, sentinel:// or amqp:// (RabbitMQ)"
            )


def is_cluster_node(client: "redis.Redis") -> bool:
    """Ask the server; one that does not let us ask is taken for a single one."""
    try:
        return bool(client.info("cluster").get("cluster_enabled"))
    except redis.ResponseError:
        return False


def unreadable(url: str, error: Exception) -> ConfigError:
    """Name a broker URL that Celery cannot make sense of; what the error quotes may be a part of the password."""
    reason = re.sub(r"'.*'", "…", str(error.args[0]))
    return ConfigError(f"broker_url is {url!r}: {reason}; allowed is what Celery knows, as redis://host:port/db")


def check_database(settings: Settings, url: str) -> None:
    """Look up every table, column and query. The connections are closed again: nothing is left for a fork to share."""
    engine = create_source_engine(url, statement_timeout_s=settings.lease_s)
    try:
        for table in settings.tables.values():
            source = Source(engine, table)
            source.load()
            for query in table.queries:
                source.check_query(query)
    finally:
        engine.dispose()
