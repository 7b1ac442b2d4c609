"""Settings, Redis client and error line of a command."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING, Any

import click
import redis
from celery import Celery, current_app

from rowcache_tasks.celery.application import COMMAND, PACKAGE, applications, settings_of
from rowcache_tasks.celery.broker_state import BrokerState
from rowcache_tasks.celery.process import Runtime
from rowcache_tasks.config.settings import Settings, load_settings
from rowcache_tasks.errors import ArgumentError, ConfigError, RowCacheError
from rowcache_tasks.errors.text import one_line, redact, shorten
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.note import note_change

if TYPE_CHECKING:
    from sqlalchemy import Engine


class FailedError(click.ClickException):
    """End of a command with exit status 1 and one line on stderr."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"rowcache_tasks: {one_line(self.message)}", file=file, err=file is None)


class MistypedError(FailedError):
    """End of a command that was typed wrong, with exit status 2 and one line on stderr."""

    exit_code = 2


class Access(Runtime):
    """Settings and clients of a command; methods raise ArgumentError for an unknown table."""

    def __init__(self, settings: Settings, client: "redis.Redis", broker: BrokerState | None = None) -> None:
        super().__init__(settings)
        self.client = client
        self.broker = broker  # None within the celery command of another application
        self.notes: list[Callable[[], None]] = []  # of the changes that were made, written at the end

    def engine(self, url: str | None) -> "Engine":
        """Return the engine of a database; raises ConfigError without a database URL."""
        if url is None:
            raise ConfigError(
                "rowcache_database_url is not set here, and this command reads the database: "
                "run it where a worker runs, or send the task of the same name"
            )
        return super().engine(url)

    def new_stamp(self, table: str) -> str:
        """Return the stamp of a change, by the clock of Redis; the command is noted when it has ended well."""
        stamp = self.stamps.stamp(self.client.time())
        command = f"rowcache {click.get_current_context().info_name}"
        facts = {"change": command, "sender": f"{os.getpid()}@{socket.gethostname()}"}
        self.notes.append(partial(note_change, self.client, self.settings.table(table), stamp, facts))
        return stamp


@contextmanager
def open_access() -> Iterator[Access]:
    """Yield settings and a client that connects at first use; errors within become FailedError or MistypedError."""
    try:
        app = find_app()
        settings = settings_of(app) if app in applications else load_settings()
        with connect(settings.redis_url, "cli") as client:
            access = Access(settings, client, BrokerState(app) if app else None)
            try:
                yield access
                for write in access.notes:
                    write()
            except redis.RedisError as error:
                raise FailedError(describe_redis_error(error, settings)) from error
            finally:
                access.dispose()
    except ArgumentError as error:
        raise MistypedError(str(error)) from error
    except RowCacheError as error:
        raise FailedError(str(error)) from error


def open_log(app: Celery | None, loglevel: int, logfile: str | None) -> None:
    """Set up the log of a process. Raises FailedError for a file that cannot be opened."""
    try:
        (app or current_app).log.setup(loglevel, logfile)
    except OSError as error:
        raise FailedError(f"--logfile {shorten(logfile)} cannot be opened: {error.strerror}: name another") from error


def describe_redis_error(error: redis.RedisError, settings: Settings) -> str:
    """Return the server, without its password, the reason and the remedy."""
    where, reason = redact(settings.redis_url), str(error).rstrip(".")
    if isinstance(error, redis.AuthenticationError):
        return f"Redis at {where} refuses the login: {reason}: correct the password in rowcache_redis_url"
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return f"Redis at {where} does not answer: {reason}: start it, or correct rowcache_redis_url"
    return f"Redis at {where} refuses: {reason}: run `{COMMAND} doctor`"


def find_app() -> Celery | None:
    """Return the application of the command; None for one without `install`, with a broker of its own."""
    app = getattr(click.get_current_context().find_root().obj, "app", None)
    return app if app in applications or getattr(app, "main", "") == PACKAGE else None
