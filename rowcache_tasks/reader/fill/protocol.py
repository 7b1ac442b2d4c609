"""Fills: rows that are not cached, as coroutines over the I/O of a reader.

Of all callers in a process that want a row, one loads it. The key `fill:` does the same between processes.
"""

import logging
import os
import secrets
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rowcache_tasks.config.settings import MAX_BATCH_SIZE
from rowcache_tasks.errors import CacheError, FillError, RowCacheError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.reader.fill import scripts
from rowcache_tasks.reader.fill.scripts import FillState, Found
from rowcache_tasks.reader.options import DATABASE_ALONE, ReaderSettings, ReadRequest
from rowcache_tasks.reader.transport import Transport

if TYPE_CHECKING:
    from rowcache_tasks.reader.fill.loader import Loader

logger = logging.getLogger(__name__)

POLL_S = (0.005, 0.05)  # first and longest pause between two calls of begin_fill for rows that another process loads


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


class Fills:
    """The fills of one table in one process, or in one event loop."""

    def __init__(self, settings: ReaderSettings, make_event: Callable[[], Any]) -> None:
        table, options = settings.table, settings.read_through
        self._settings, self._table = settings, table.name
        self._scripts = scripts.FillScripts(table, options)
        self._uses_database_alone = options.when_redis_is_down
        self._grows = table.growing_from > 0
        self._limit_s = 2.5 * options.timeout
        self._flights = SingleFlight(make_event)

    def open_loader(self) -> "Loader":
        """Return the loader of this process. Raises FillError without a database, ConfigError for a wrong URL."""
        options = self._settings.read_through
        if options.database_url is None:
            raise FillError(
                f"{self._table} cannot be filled: no database is known: set rowcache_database_url, or give "
                "read_through=ReadThrough(database_url=…)"
            )
        # Late: it brings SQLAlchemy, which a process that finds all rows in the cache does not need.
        from rowcache_tasks.reader.fill import loader  # noqa: PLC0415

        return loader.open_loader(self._settings.table, options.database_url, options.timeout, options.concurrency)

    async def rows(self, io: Transport, row_ids: Sequence[str], request: ReadRequest) -> dict[str, Found]:
        """Read rows from the cache or else from the database, once for all callers in this process.

        The waiters get the leader's error. A load that began before this call may be older than a change of the
        caller: the row is then read again. Raises FillError and CacheError.
        """
        found: dict[str, Found] = {}
        left = list(dict.fromkeys(row_ids))
        while left:
            batch, left = left[:MAX_BATCH_SIZE], left[MAX_BATCH_SIZE:]
            called_at = time.monotonic()
            while batch:
                led, others = self._flights.join(batch, request)
                error = None
                try:
                    if led:
                        found |= await self._lead(io, list(led), request, called_at)
                except RowCacheError as raised:
                    error = raised
                    raise
                finally:
                    self._flights.finish(led, found, error)
                for row_id, other in others.items():
                    await io.wait(self._left_s(row_id, called_at), other.event)
                    found |= result_of(row_id, other, called_at)
                batch = [row_id for row_id in batch if row_id not in found]
        return found

    async def _lead(
        self, io: Transport, row_ids: Sequence[str], request: ReadRequest, called_at: float
    ) -> dict[str, Found]:
        """Read rows from the cache or else from the database, once for all processes."""
        if request == DATABASE_ALONE or self._grows:  # no fill follows a row that moves: the table is filled later
            return read_outcomes(await io.load(row_ids))
        token = b"t" + secrets.token_hex(8).encode()
        found: dict[str, Found] = {}
        left, pause_s = row_ids, POLL_S[0]
        with suppress(RowCacheError):
            await io.load()  # before the rows are marked, and others wait: the first time takes tenths of a second
        while True:
            try:
                replies = await io.call(self._scripts.begin(left, token, request.max_age))
            except CacheError:
                if not self._uses_database_alone:
                    raise
                return found | await self.rows(io, left, DATABASE_ALONE)
            state = self._scripts.read_begin(left, replies)
            found |= state.cached
            if state.ours:  # first, since others wait for them
                found |= await self._load(io, state, token, request.delay)
            found |= read_outcomes(state.notes)
            if not state.held:
                return found
            left = state.held
            await io.wait(min(pause_s, self._left_s(left[0], called_at)))
            pause_s = min(2 * pause_s, POLL_S[1])

    async def _load(self, io: Transport, state: FillState, token: bytes, delay: float | None) -> dict[str, Found]:
        """Load the rows that are ours, and write their outcomes; a failed write is logged.

        Rows that a replica has read too early are returned, and not cached.
        """
        failure: Exception | None = None
        outcomes: Mapping[str, bytes]
        try:
            outcomes = await io.load(state.ours)
        except Exception as error:  # noqa: BLE001 - raised below
            failure = error
            # Only the database's own answer holds for other processes; an error of this one may not be theirs.
            is_shared = isinstance(error, FillError) and error.is_shared
            note = scripts.make_note(scripts.FAILED, str(error)) if is_shared else scripts.NOT_READ
            outcomes = dict.fromkeys(state.ours, note)
        try:
            written = outcomes
            if positions := getattr(outcomes, "positions", ()):
                replies = await io.call(self._scripts.check(state.ours, positions))
                written = {**outcomes, **dict.fromkeys(self._scripts.read_check(state.ours, replies), scripts.NOT_READ)}
            await io.call(self._scripts.end(token, state, written, delay))
        except CacheError as error:
            logger.warning("%d row(s) of %s were read and are not cached: %s", len(outcomes), self._table, error)
        if failure is not None:
            raise failure
        return read_outcomes(outcomes)

    def _left_s(self, row_id: str, called_at: float) -> float:
        """Return the seconds that a caller may still wait. Raises FillError when there are none."""
        left_s = called_at + self._limit_s - time.monotonic()
        if left_s <= 0:
            raise FillError(
                f"row {shorten(row_id)} of {self._table}: another reader has not read it within {self._limit_s:g} s: "
                "try again"
            )
        return left_s


def result_of(row_id: str, flight: InFlight, called_at: float) -> dict[str, Found]:
    """Return the result of another caller's load, none if it began before `called_at`. Raises its error."""
    if flight.error is not None:
        raise type(flight.error)(str(flight.error)) from flight.error
    return {row_id: flight.found} if flight.found is not None and flight.started_at >= called_at else {}


def read_outcomes(outcomes: Mapping[str, bytes]) -> dict[str, Found]:
    """Return the values among outcomes, of age 0. Raises FillError if the database could not be read."""
    for note in outcomes.values():
        reason = scripts.reason_of(note, scripts.FAILED)
        if reason is not None:
            raise FillError(reason)
    return {row_id: found_of(note) for row_id, note in outcomes.items()}


def found_of(note: bytes) -> Found:
    """Return the value, of age 0, or the note in its place."""
    if note == scripts.ABSENT:
        return None, None
    return scripts.BadRow(note) if note.startswith(scripts.BAD_ROW) else note, 0.0
