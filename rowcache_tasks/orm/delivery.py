"""Own how the rows of a commit are handed over: never an exception, never a long wait. Knows neither keys nor SQL.

The commit has happened by then. What cannot be handed over is seen at the row's next refresh.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import redis
from sqlalchemy.util import await_
from sqlalchemy.util.concurrency import in_greenlet

from rowcache_tasks.config.settings import MAX_BATCH_SIZE
from rowcache_tasks.errors import CacheError
from rowcache_tasks.reader.breaker import Breaker
from rowcache_tasks.schedule.rows import cut

__all__ = ["Delivery", "Route", "TaskRoute"]

logger = logging.getLogger(__name__)

PAUSE_S = 1.0
"""After a failure nothing is tried for about so long."""


class Route(Protocol):
    """A way to ask for refreshes: a Refresher, or tasks."""

    def touch_rows(self, rows: Mapping[str, Sequence[str]]) -> object:
        """Ask for a refresh of rows: table -> row ids. Raises when it cannot."""


class TaskRoute:
    """Asks through the task refresh_now, for applications that may not change the schedule themselves."""

    def touch_rows(self, rows: Mapping[str, Sequence[str]]) -> None:
        """Send one message a table, of up to MAX_BATCH_SIZE rows each. Takes as long as the broker's time-outs."""
        # Late, because an application that touches Redis itself has no use for Celery.
        from rowcache_tasks.tasks import refresh_now  # noqa: PLC0415

        for table, row_ids in rows.items():
            for batch in cut(row_ids, MAX_BATCH_SIZE):
                # A stamp of our own, which this task has no use for: without it, Redis would be asked for the time.
                refresh_now.apply_async((table, batch), {"stamp": "0"}, retry=False)


class Delivery:
    """Hands rows over by a route. Thread-safe and fork-safe."""

    def __init__(self, route: Route, patience_s: float) -> None:
        """`patience_s`: for how long a coroutine waits at most for its commit to be handed over; seconds."""
        self._route = route
        self._patience_s = patience_s
        self._breaker = Breaker(threshold=1, pause_s=PAUSE_S)
        self._untold = 0
        self._silent_until = 0.0

    def send(self, rows: Mapping[str, Sequence[str]]) -> None:
        """Hand over table -> row ids. Below an AsyncSession a thread does it, and the event loop goes on."""
        # greenlet is installed only where asyncio is used.
        if sys.modules.get("greenlet") and in_greenlet():
            await_(self._send_aside(rows))
        else:
            self._send(rows)

    async def _send_aside(self, rows: Mapping[str, Sequence[str]]) -> None:
        try:
            await asyncio.wait_for(asyncio.to_thread(self._send, rows), self._patience_s)
        except TimeoutError:
            told = name_rows(sizes(rows)), self._patience_s
            logger.warning("%s may not be refreshed at once: it takes over %s s", *told)

    def _send(self, rows: Mapping[str, Sequence[str]]) -> None:
        """Try once; while the other side is away, only now and then."""
        if not self._breaker.allows():
            self._untold += 1
            return
        try:
            self._route.touch_rows(rows)
        except Exception as error:  # noqa: BLE001 the outer edge: the application's commit has succeeded
            if is_answered(error):
                self._breaker.succeed()
            else:
                self._breaker.fail()
            self._warn(rows, error)
        else:
            self._breaker.succeed()

    def _warn(self, rows: Mapping[str, Sequence[str]], error: Exception) -> None:
        """Log a failure, but no more than one in a pause; the others are counted."""
        if time.monotonic() < self._silent_until:
            self._untold += 1
            return
        untold, self._untold = self._untold, 0
        left = error.left if isinstance(error, CacheError) else {}
        self._silent_until = time.monotonic() + PAUSE_S / 2
        logger.warning(
            "%s, and those of %d commits before, are not refreshed at once but at the end of their delay: %s: %s",
            *(name_rows(left or sizes(rows)), untold, type(error).__name__, error),
        )
        logger.debug("where it failed", exc_info=error)


def is_answered(error: Exception) -> bool:
    """Whether the server is there: it refuses one table, or has answered until the time was over."""
    cause = error.__cause__
    return isinstance(cause, redis.ResponseError) or (isinstance(error, CacheError) and cause is None)


def sizes(rows: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Count the rows of each table."""
    return {table: len(row_ids) for table, row_ids in rows.items()}


def name_rows(numbers: Mapping[str, int]) -> str:
    """Name tables and numbers of rows, for the log."""
    return ", ".join(f"{number} rows of {table}" for table, number in numbers.items())
