"""Schedule changes that wait for Redis: one warning when the first does, one line when all are made."""

import logging
import mmap
import struct
import time
import zlib

from celery.exceptions import Reject

from rowcache_tasks.errors.text import one_line, show_count, show_duration

logger = logging.getLogger(__name__)

SLOTS = 65_536  # places for changes. Two changes on one place count as one.
QUIET_S = 60.0  # a change that was not tried for so long waits no more: another worker has it
FACTS = struct.Struct("ddq")
"""Begin of the outage and last try, by the monotonic clock; number of changes that have waited. 0: no outage."""


class PutBackError(Reject):
    """A schedule change goes back to its queue. The log leaves out Celery's line for it."""


class Outage:
    """Outage of Redis as schedule changes see it. The forked processes of a pool share one, without a lock."""

    def __init__(self) -> None:
        self._waiting = mmap.mmap(-1, SLOTS)
        self._facts = mmap.mmap(-1, FACTS.size)

    def begin(self, change: str, error: Exception) -> None:
        """Note that a change waits; warn of the first one."""
        since, tried_at, waited = FACTS.unpack(self._facts)
        now, place = time.monotonic(), place_of(change)
        if now - tried_at > QUIET_S:
            since = waited = self._clear()
        waited += not self._waiting[place]
        self._waiting[place] = 1
        FACTS.pack_into(self._facts, 0, since or now, now, waited)
        if not since:
            logger.warning(
                "changes_wait: Redis does not take schedule changes, each is tried again every second: %s: %s",
                type(error).__name__,
                one_line(str(error)),
                extra={"event": "changes_wait"},
            )

    def end(self, change: str) -> None:
        """Note that a change is made; log the end of the outage when no other one waits."""
        since, tried_at, waited = FACTS.unpack(self._facts)
        if not since:
            return
        self._waiting[place_of(change)] = 0
        now = time.monotonic()
        if self._waiting.find(b"\1", 0) >= 0 and now - tried_at < QUIET_S:
            return
        self._clear()
        logger.warning(
            "changes_resumed: Redis takes schedule changes again after %s, %s waited",
            show_duration(now - since),
            show_count(waited, "change"),
            extra={"event": "changes_resumed", "seconds": now - since, "changes": waited},
        )

    def _clear(self) -> int:
        self._waiting[:] = bytes(SLOTS)
        self._facts[:] = bytes(FACTS.size)
        return 0


def place_of(change: str) -> int:
    """Return the place of the id of a task."""
    return zlib.crc32(change.encode("utf-8", "replace")) % SLOTS
