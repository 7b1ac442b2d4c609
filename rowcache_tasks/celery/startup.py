"""Checks before a worker or a dispatcher starts: one line and exit status 1 instead of a later failure.

A server that does not answer is tried for rowcache_start_timeout seconds, with a line each second: after a reboot
everything starts at once. A lasting error stops the process at once.
"""

import logging
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import redis
from celery import Celery
from kombu import Connection
from kombu.exceptions import KombuError

from rowcache_tasks.celery.application import is_package, settings_of
from rowcache_tasks.celery.log import json_formatter
from rowcache_tasks.celery.process import Runtime
from rowcache_tasks.config.settings import Settings, Table
from rowcache_tasks.config.source import hide_password
from rowcache_tasks.errors import ConfigError, RowCacheError, SourceError
from rowcache_tasks.errors.text import redact, shorten
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.layout import check_layout
from rowcache_tasks.schedule.node import NodeAwayError
from rowcache_tasks.schedule.servers import Servers

logger = logging.getLogger(__name__)

MIN_CONNECTIONS = 3
"""A dispatcher keeps one connection and takes one for claims; a worker takes one for each thread; one is in reserve."""


def check_dispatcher(app: Celery) -> Settings:
    """Check the settings, Redis and the broker; return the settings or exit with status 1 and one line."""
    with exit_on_error():
        settings = settings_of(app)
        hide_password(app)
        timeout_s = settings.start_timeout_s
        if settings.log_format == "json":
            json_formatter()
        check_broker_url(app)
        if is_package(app) and app.conf.task_compression:
            raise ConfigError(
                f"task_compression is {shorten(app.conf.task_compression)}: allowed is None, "
                "since a compressed message of some bytes can take all memory of its receiver"
            )
        wait_for("Redis", redact(settings.redis_url), partial(check_redis, settings), timeout_s)
        wait_for("the broker", redact(str(app.conf.broker_write_url)), lambda: check_broker(app), timeout_s)
    return settings


def check_worker(app: Celery) -> None:
    """Check the same and the database with every table; exit with status 1 and one line if wrong."""
    settings = check_dispatcher(app)
    with exit_on_error():
        urls = ", ".join(redact(str(url)) for url in settings.by_database())
        wait_for("the database", urls, partial(check_databases, settings), settings.start_timeout_s)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Print an error of the with-block and exit with status 1."""
    try:
        yield
    except RowCacheError as error:
        print_line(str(error))
        raise SystemExit(1) from None


def print_line(line: str) -> None:
    """Write a line to the terminal: a worker has not set up its logging yet, and beat logs its own stderr."""
    print(f"rowcache_tasks: {line}", file=sys.__stderr__, flush=True)


def wait_for(what: str, where: str, check: Callable[[], None], timeout_s: float) -> None:
    """Call `check` until it raises no connection error. Raises ConfigError at the end, or for a lasting cause."""
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
            print_line(f"waiting for {what} at {where} ({left_s:.0f} s left): {reason}")
            time.sleep(min(1.0, max(0.05, left_s)))


def lasting_cause(error: BaseException | None) -> str | None:
    """Return the cause of an error that no waiting mends; None: there is no such cause."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"cannot be trusted: its certificate is refused: {error.verify_message}"
        if isinstance(error, redis.AuthenticationError):
            return f"refuses the login: {error}"
        error = error.__cause__ or error.__context__
    return None


def check_redis(settings: Settings) -> None:
    """Refuse too few connections, a node of a cluster in its place, and other partitions; warn of eviction.

    Of several servers, one must answer. The first process notes the partitions of a table.
    """
    url = redact(settings.redis_url)
    with connect(settings.redis_url, "start") as client:
        if (allowed := client.connection_pool.max_connections) < MIN_CONNECTIONS:
            raise ConfigError(
                f"rowcache_redis_url is {url!r}: max_connections is {allowed}, and a process needs "
                f"{MIN_CONNECTIONS} or more: leave it out"
            )
        try:
            info = client.first_info() if isinstance(client, Servers) else client.info()
        except redis.AuthenticationError as error:
            raise ConfigError(f"rowcache_redis_url {url} was refused: {error}") from error
        except redis.ResponseError as error:
            raise ConfigError(f"rowcache_redis_url {url} does not answer INFO: {error}") from error
        if info.get("cluster_enabled") and not (isinstance(client, Servers) and client.is_cluster):
            raise ConfigError(
                f"rowcache_redis_url {url} is a Redis Cluster: "
                "found cluster_enabled:1: name it as redis+cluster://host:port/ (docs/cluster.md)"
            )
        for table in settings.tables.values():
            with suppress(NodeAwayError, redis.ResponseError):  # away, or not allowed: the others are checked
                if problem := check_layout(client, table):
                    raise ConfigError(problem)
    policy = info.get("maxmemory_policy", "noeviction")
    if policy.startswith("allkeys") and info.get("maxmemory"):
        logger.warning("Redis may evict the schedule: maxmemory-policy is %s, use noeviction", policy)


def check_broker_url(app: Celery) -> None:
    """Refuse the URL of a Redis Cluster, since Celery has no such transport, and an option that kombu 5.6 lacks."""
    for url in (app.conf.broker_read_url, app.conf.broker_write_url):
        if "cluster" in str(url or "").partition("://")[0]:
            raise ConfigError(
                f"broker_url is {redact(str(url))!r}: Celery cannot use a Redis Cluster as its broker; "
                "allowed are redis://, rediss://, sentinel:// or, for high availability, amqp:// (RabbitMQ)"
            )
        if "credential_provider=" in str(url) and not hasattr(Connection(), "credential_provider"):
            raise ConfigError(f"broker_url is {redact(str(url))!r}: credential_provider needs kombu 5.7: upgrade it")


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
        with suppress(redis.ResponseError):  # a server that refuses to answer counts as a single one
            if isinstance(client, redis.Redis) and client.info("cluster").get("cluster_enabled"):
                raise ConfigError(
                    f"broker_url is {url!r}: found a node of a Redis Cluster, which Celery cannot use as its broker; "
                    "allowed are a single Redis server, sentinel:// or amqp:// (RabbitMQ)"
                )


def unreadable(url: str, error: Exception) -> ConfigError:
    """Return the error about a broker URL that Celery cannot read. A quotation may be a part of the password."""
    reason = re.sub(r"'.*'", "…", str(error.args[0]))
    return ConfigError(f"broker_url is {url!r}: {reason}; allowed is a URL of Celery, as redis://host:port/db")


def check_databases(settings: Settings) -> None:
    """Look up the tables of each database. One that is away stops only its tables; raises SourceError if all are."""
    groups = settings.by_database()
    away: dict[str | None, str] = {}
    for url, tables in groups.items():
        try:
            check_tables(settings, tables)
        except SourceError as error:
            away[url] = str(error)
            if len(away) == len(groups):
                raise
    for url, reason in away.items():
        names = ", ".join(repr(table.name) for table in groups[url])
        where = f"{settings.setting_of(url)} {redact(str(url))}"
        print_line(f"{where} cannot be reached: {reason}: rows of {names} wait for it")


def check_tables(settings: Settings, tables: Sequence[Table]) -> None:
    """Look up tables, their columns and queries; close the connections: a fork must share none."""
    runtime = Runtime(settings)
    try:
        for table in tables:
            runtime.source(table.name).load()
            for query in table.queries:
                runtime.source(table.name).check_query(query)
    finally:
        runtime.dispose()
