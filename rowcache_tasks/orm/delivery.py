"""Delivery of committed rows: never an exception, never a long wait."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import redis
from sqlalchemy.util.concurrency import in_greenlet

from rowcache_tasks.config.settings import MAX_BATCH_SIZE
from rowcache_tasks.errors import ArgumentError, CacheError
from rowcache_tasks.reader.server import Breaker
from rowcache_tasks.schedule.arguments import parse_row_id
from rowcache_tasks.schedule.cut import cut

try:
    from sqlalchemy.util import await_
except ImportError:  # SQLAlchemy 2.0
    from sqlalchemy.util import await_only as await_

logger = logging.getLogger(__name__)

PAUSE_S = 1.0  # pause after a failure; seconds, shortened by chance
PATIENCE = 1.25  # longest wait of a coroutine, in time-outs. A delivery takes about one, and logs a failure itself.

Rows = Mapping[str, Sequence[str]]  # table -> row ids


def send_tasks(rows: Rows, position: str = "") -> None:
    """Refresh rows through the task refresh_now, in batches; takes as long as the broker's time-outs."""
    # Late, because an application that writes to Redis itself does not need Celery.
    from rowcache_tasks.tasks import refresh_now  # noqa: PLC0415

    options = {"stamp": "0"} | ({"position": position} if position else {})
    for table, row_ids in rows.items():
        for batch in cut(_sendable(table, row_ids), MAX_BATCH_SIZE):
            # The task does not use the stamp. Without one, Redis would be asked for the time.
            refresh_now.apply_async((table, batch), options, retry=False)


def _sendable(table: str, row_ids: Sequence[str]) -> list[str]:
    """Leave out row ids that no message may have, and log one of them: the others must not be lost with them."""
    found, refused = [], None
    for row_id in row_ids:
        try:
            found.append(parse_row_id(row_id))
        except ArgumentError as error:
            refused = error
    if refused:
        logger.warning("%d rows of %s are not refreshed at once: %s", len(row_ids) - len(found), table, refused)
    return found


class Delivery:
    """Delivers rows through a function. Thread-safe and fork-safe."""

    def __init__(self, refresh: Callable[[Rows, str], object], timeout_s: float) -> None:
        self._refresh = refresh
        self._patience_s = PATIENCE * timeout_s
        self._breaker = Breaker(threshold=1, pause_s=PAUSE_S)
        self._unreported = 0  # commits since the last line in the log
        self._silent_until = 0.0

    def send(self, rows: Rows, position: str = "") -> None:
        """Deliver table -> row ids, with the position of the database after the commit.

        Below an AsyncSession a thread does it, and the event loop goes on.
        """
        # greenlet is installed only where asyncio is used.
        if sys.modules.get("greenlet") and in_greenlet():
            await_(self._send_in_thread(rows, position))
        else:
            self._send(rows, position)

    async def _send_in_thread(self, rows: Rows, position: str) -> None:
        try:
            await asyncio.wait_for(asyncio.to_thread(self._send, rows, position), self._patience_s)
        except TimeoutError:
            logger.warning("%s may not be refreshed at once: it takes over %s s", _names(rows), self._patience_s)

    def _send(self, rows: Rows, position: str) -> None:
        """Try once; after a failure only now and then."""
        if not self._breaker.allows():
            self._unreported += 1
            return
        is_answered = True
        try:
            self._refresh(rows, position)
        except Exception as error:  # noqa: BLE001 the outer edge: the application's commit has succeeded
            is_answered = _is_answered(error)
            self._warn(rows, error)
        else:
            self._report()
        if is_answered:
            self._breaker.succeed()
        else:
            self._breaker.fail()

    def _report(self) -> None:
        """Log the commits that were left out before the server answered again."""
        if self._unreported:
            count, self._unreported = self._unreported, 0
            logger.warning("rows of %d commits were not refreshed at once, but are at the end of their delay", count)

    def _warn(self, rows: Mapping[str, Sequence[str]], error: Exception) -> None:
        """Log a failure, at most once in a pause."""
        if time.monotonic() < self._silent_until:
            self._unreported += 1
            return
        unreported, self._unreported = self._unreported, 0
        self._silent_until = time.monotonic() + PAUSE_S / 2
        left = isinstance(error, CacheError) and error.left
        logger.warning(
            "%s, and those of %d commits before, are not refreshed at once but at the end of their delay: %s: %s",
            *(_names(left or rows), unreported, type(error).__name__, error),
        )
        logger.debug("where it failed", exc_info=error)


def _is_answered(error: Exception) -> bool:
    """Whether the server answers: it refuses one table, or has answered until the time was over."""
    cause = error.__cause__
    return isinstance(cause, redis.ResponseError) or (isinstance(error, CacheError) and cause is None)


def _names(rows: Mapping[str, int | Sequence[str]]) -> str:
    """Name tables and numbers of rows, for the log."""
    counts = {table: found if isinstance(found, int) else len(found) for table, found in rows.items()}
    return ", ".join(f"{count} rows of {table}" for table, count in counts.items())
