"""Single flight: of all callers that want a row, one loads it.

The key `fill:` does the same between processes.
"""

import os
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from rowcache_tasks.errors import RowCacheError
from rowcache_tasks.reader.fill.scripts import Found


class InFlight:
    """The load of one row. `found` or `error` is set before `event`; neither is when the load was cancelled."""

    __slots__ = ("error", "event", "found", "key", "started_at")

    def __init__(self, key: Hashable, event: Any) -> None:
        self.key = key
        self.event = event
        self.started_at = time.monotonic()
        self.found: Found | None = None
        self.error: RowCacheError | None = None


class SingleFlight:
    """The loads of one process, with threading.Event; of one event loop, with asyncio.Event. Thread-safe, fork-safe."""

    def __init__(self, make_event: Callable[[], Any]) -> None:
        self._make_event = make_event
        self._in_flight: dict[Hashable, InFlight] = {}
        self._pid = os.getpid()

    def join(self, row_ids: Iterable[str], request: Hashable) -> tuple[dict[str, InFlight], dict[str, InFlight]]:
        """Return the loads that the caller leads and must finish, and those of other callers with the same request."""
        if self._pid != os.getpid():  # the leaders in the parent are not in this process
            self._in_flight, self._pid = {}, os.getpid()
        led: dict[str, InFlight] = {}
        others: dict[str, InFlight] = {}
        for row_id in row_ids:
            mine = InFlight((row_id, request), self._make_event())
            flight = self._in_flight.setdefault(mine.key, mine)  # atomic
            (led if flight is mine else others)[row_id] = flight
        return led, others

    def finish(
        self, led: Mapping[str, InFlight], found: Mapping[str, Found], error: RowCacheError | None = None
    ) -> None:
        """End loads, successful or not, and wake their waiters."""
        for row_id, flight in led.items():
            flight.found, flight.error = found.get(row_id), error
            self._in_flight.pop(flight.key, None)
            flight.event.set()
