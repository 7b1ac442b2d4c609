"""Own who of the callers in one process fills a row, while the others wait for it. Knows neither Redis nor a database.

The key `fill:` does the same between processes; this spares the server the questions of all those who wait.
"""

import os
import time
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from rowcache_tasks.errors import RowCacheError

__all__ = ["Event", "Flight", "Flights"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Event(Protocol):
    """What threading.Event and asyncio.Event have in common."""

    @property
    def wait(self) -> Any:
        """The method that waits; asyncio's is awaited."""

    def set(self) -> None:
        """Wake all who wait."""


class Flight(Generic[V]):
    """The filling of one row. `found` or `error` is set before `event` when there is something that others may take."""

    __slots__ = ("error", "event", "found", "started_at")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.started_at = time.monotonic()
        self.found: V | None = None
        self.error: RowCacheError | None = None


class Flights(Generic[K, V]):
    """The flights of one process. Thread-safe with threading.Event; with asyncio.Event, for one event loop."""

    def __init__(self, make_event: Callable[[], Event]) -> None:
        self._make_event = make_event
        self._flights: dict[K, Flight[V]] = {}
        self._pid = os.getpid()

    def enter(self, keys: Iterable[K]) -> tuple[dict[K, Flight[V]], dict[K, Flight[V]]]:
        """Give the flights that the caller leads from now on and must leave, and those of others to wait for."""
        if self._pid != os.getpid():  # whoever led in the parent is not here
            self._flights, self._pid = {}, os.getpid()
        led: dict[K, Flight[V]] = {}
        others: dict[K, Flight[V]] = {}
        for key in keys:
            mine = Flight[V](self._make_event())
            flight = self._flights.setdefault(key, mine)  # atomic
            (led if flight is mine else others)[key] = flight
        return led, others

    def leave(self, led: dict[K, Flight[V]]) -> None:
        """End flights, successful or not; those who wait go on."""
        for key, flight in led.items():
            self._flights.pop(key, None)
            flight.event.set()
