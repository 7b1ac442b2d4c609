"""Own what a command works with: settings, a client, the application; and how it fails: one line, exit status 1."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import IO, Any

import click
import redis
from celery import Celery

from rowcache_tasks.config.settings import Settings, load_settings
from rowcache_tasks.database.source import Source, create_source_engine
from rowcache_tasks.errors import ConfigError, RowCacheError
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.stamp import Stamps
from rowcache_tasks.schedule.table import TableState
from rowcache_tasks.text import one_line, redact

__all__ = ["FailedError", "Session", "describe_redis_error", "find_app", "open_session"]


class FailedError(click.ClickException):
    """Ends a command with exit status 1 and a line on stderr."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"rowcache_tasks: {one_line(self.message)}", file=file, err=file is None)


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with."""

    settings: Settings
    client: "redis.Redis"

    def schedule(self, table: str) -> Schedule:
        """Return the schedule of a table; raises ArgumentError for an unknown one."""
        return Schedule(self.client, self.settings.table(table))

    def table_state(self, table: str) -> TableState:
        """Return what is kept about a table as a whole; raises ArgumentError for an unknown one."""
        return TableState(self.client, self.settings.table(table))

    def stamp(self) -> str:
        """Give the time of a change that takes many steps, by the clock of Redis."""
        return Stamps().stamp(self.client.time())

    @contextmanager
    def open_source(self, table: str) -> Iterator[Source]:
        """Give the source of a table. Raises ArgumentError for an unknown one, ConfigError without a database."""
        found, url = self.settings.table(table), self.settings.database_url
        if url is None:
            raise ConfigError(
                "rowcache_database_url is not set here: this command reads the database; "
                "run it where a worker runs, or let a worker do it: the task of the same name"
            )
        engine = create_source_engine(url, statement_timeout_s=self.settings.lease_s)
        try:
            yield Source(engine, found)
        finally:
            engine.dispose()


@contextmanager
def open_session() -> Iterator[Session]:
    """Read the settings and make a client; turn what is raised within into FailedError. Connects at the first use."""
    try:
        settings = load_settings()
        with closing(make_client(settings.redis_url)) as client:
            try:
                yield Session(settings, client)
            except redis.RedisError as error:
                raise FailedError(describe_redis_error(error, settings)) from error
    except RowCacheError as error:
        raise FailedError(str(error)) from error


def make_client(url: str) -> "redis.Redis":
    """Make a client; raises ConfigError for a URL that redis-py cannot parse: its own message may quote a password."""
    try:
        return connect(url, "cli")
    except ValueError:
        raise ConfigError(
            f"rowcache_redis_url {redact(url)} cannot be parsed: "
            "write the characters / # ? @ of a password as %2F %23 %3F %40, and the port as a number"
        ) from None


def describe_redis_error(error: redis.RedisError, settings: Settings) -> str:
    """Say which server failed and how, without its password."""
    where, reason = redact(settings.redis_url), str(error).rstrip(".")
    if isinstance(error, redis.AuthenticationError):
        return f"Redis at {where} refuses the login: {reason}: correct the password in rowcache_redis_url"
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return f"Redis at {where} does not answer: {reason}: start it, or correct rowcache_redis_url"
    return f"Redis at {where} refuses: {reason}: `celery -A rowcache_tasks rowcache doctor` may tell why"


def find_app(ctx: click.Context) -> Celery | None:
    """Return the application of `celery -A rowcache_tasks`; None under another one, whose broker is not ours."""
    app = getattr(ctx.find_root().obj, "app", None)
    return app if isinstance(app, Celery) and app.main == "rowcache_tasks" else None
