"""Settings, Redis client and error line of a command."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import IO, Any

import click
import redis
from celery import Celery

from rowcache_tasks.config.settings import Settings, load_settings
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.errors import ConfigError, RowCacheError
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.stamp import Stamps
from rowcache_tasks.schedule.table import TableState
from rowcache_tasks.text import one_line, redact


class FailedError(click.ClickException):
    """End of a command with exit status 1 and one line on stderr."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"rowcache_tasks: {one_line(self.message)}", file=file, err=file is None)


@dataclass(frozen=True, slots=True)
class Access:
    """Settings and a Redis client; methods raise ArgumentError for an unknown table."""

    settings: Settings
    client: "redis.Redis"

    def schedule(self, table: str) -> Schedule:
        """Return the schedule of a table."""
        return Schedule(self.client, self.settings.table(table))

    def table_state(self, table: str) -> TableState:
        """Return the state of a table as a whole."""
        return TableState(self.client, self.settings.table(table))

    def stamp(self) -> str:
        """Return the stamp of a change of many steps, by the clock of Redis."""
        return Stamps().stamp(self.client.time())

    @contextmanager
    def open_source(self, table: str) -> Iterator[Source]:
        """Open the source of a table; raises ConfigError without a database URL."""
        found = self.settings.table(table)
        url = self.settings.url_of(found)
        if url is None:
            raise ConfigError(
                "rowcache_database_url is not set here, and this command reads the database: "
                "run it where a worker runs, or send the task of the same name"
            )
        engine = create_source_engine(url, statement_timeout_s=self.settings.lease_s)
        try:
            yield Source(engine, found)
        finally:
            engine.dispose()


@contextmanager
def open_access() -> Iterator[Access]:
    """Read the settings and make a client, which connects at first use; errors within become FailedError."""
    try:
        settings = load_settings()
        with closing(make_client(settings.redis_url)) as client:
            try:
                yield Access(settings, client)
            except redis.RedisError as error:
                raise FailedError(describe_redis_error(error, settings)) from error
    except RowCacheError as error:
        raise FailedError(str(error)) from error


def make_client(url: str) -> "redis.Redis":
    """Make a client; raises ConfigError, as the error of redis-py may quote a password."""
    try:
        return connect(url, "cli")
    except ValueError:
        raise ConfigError(
            f"rowcache_redis_url {redact(url)} cannot be parsed: "
            "write the characters / # ? @ of a password as %2F %23 %3F %40, and the port as a number"
        ) from None


def describe_redis_error(error: redis.RedisError, settings: Settings) -> str:
    """Return the server, without its password, the reason and the remedy."""
    where, reason = redact(settings.redis_url), str(error).rstrip(".")
    if isinstance(error, redis.AuthenticationError):
        return f"Redis at {where} refuses the login: {reason}: correct the password in rowcache_redis_url"
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return f"Redis at {where} does not answer: {reason}: start it, or correct rowcache_redis_url"
    return f"Redis at {where} refuses: {reason}: run `celery -A rowcache_tasks rowcache doctor`"


def find_app(ctx: click.Context) -> Celery | None:
    """Return the application of `celery -A rowcache_tasks`; None for another one, with a broker of its own."""
    app = getattr(ctx.find_root().obj, "app", None)
    return app if isinstance(app, Celery) and app.main == "rowcache_tasks" else None
