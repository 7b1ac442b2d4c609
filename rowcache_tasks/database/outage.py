"""Failures of a database: errors of its libraries, a pause after a slow one."""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from rowcache_tasks.database.dialects import dialect_of
from rowcache_tasks.errors import SourceError
from rowcache_tasks.errors.text import MAX_TEXT, one_line

FACTOR = 3  # a pause is so many times as long as what failed, so a database that hangs takes a quarter of a process
MIN_S = 0.5  # shorter failures are followed by no pause
MAX_S = 15.0  # longest pause


class Outage:
    """Failures of one database or table. Thread-safe."""

    def __init__(self) -> None:
        self._until = 0.0
        self._error: Exception | None = None

    @contextmanager
    def watch(self, errors: tuple[type[Exception], ...]) -> Iterator[None]:
        """Raise the last error again while a pause lasts; else run the block, whose `errors` begin a pause."""
        started = time.monotonic()
        if self._error is not None and started < self._until:
            raise copy.copy(self._error)
        try:
            yield
        except errors as error:
            ended = time.monotonic()
            if ended - started >= MIN_S:
                # A copy: the error itself keeps the connection that failed.
                self._error, self._until = copy.copy(error), ended + min(MAX_S, FACTOR * (ended - started))
            raise


@contextmanager
def source_errors(engine: Engine, failure: str) -> Iterator[None]:
    """Wrap the library's errors in SourceError: SQLAlchemy's, and the driver's bare ones while it connects."""
    try:
        yield
    except (SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as error:
        reason = dialect_of(engine.dialect.name).message(original(error))
        raise SourceError(one_line(f"{failure}: {reason}", MAX_TEXT)) from error


def original(error: BaseException) -> BaseException:
    """Return the error of the driver."""
    return error.orig if isinstance(error, DBAPIError) and error.orig else error
