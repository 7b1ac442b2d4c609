"""Own how rows that are not cached are filled: one reads the database, everybody else waits. Does no I/O itself."""

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from rowcache_tasks.errors import CacheError, FillError, RowCacheError
from rowcache_tasks.reader.fill.scripts import ABSENT, FAILED, NOT_READ, Begun, Fill, failure, reason_of
from rowcache_tasks.reader.fill.single_flight import Flights
from rowcache_tasks.reader.port import Found, Steps, Wanted
from rowcache_tasks.reader.server import Server
from rowcache_tasks.text import shorten

__all__ = ["Filling"]

logger = logging.getLogger(__name__)

POLL_S = (0.005, 0.05)
"""First and longest pause between two questions whether another process has filled a row."""

SCRIPT_ROWS = 200
"""Rows in one script call: 1 to 2 ms, in which the server does nothing else. Calls are sent one after the other: those
of a pipeline that arrive together are run together, before the server looks at anybody else."""

DATABASE_ALONE = Wanted(max_age=-1.0)
"""How callers are told apart that may not have a value from Redis."""

Flown = Flights[tuple[str, Wanted], Found]


class Filling:
    """The fills of one table in one process."""

    def __init__(self, table: str, fill: Fill, server: Server, flights: Flown) -> None:
        self._table, self._fill, self._server, self._flights = table, fill, server, flights
        self._options = fill.options
        self._limit_s = 2.5 * self._options.timeout

    def found(self, row_ids: Sequence[str], wanted: Wanted) -> Steps[dict[str, Found]]:
        """Read rows from the cache or else from the database, once for all callers in this process."""
        return (yield from self._together(row_ids, wanted, lambda left, at: self._lead(left, wanted, at)))

    def from_database(self, row_ids: Sequence[str]) -> Steps[dict[str, Found]]:
        """Read rows from the database alone, as while Redis is down; once for all callers in this process, too."""
        return (yield from self._together(row_ids, DATABASE_ALONE, fetch))

    def _together(
        self,
        row_ids: Sequence[str],
        wanted: Wanted,
        lead: Callable[[Sequence[str], float], Steps[dict[str, Found]]],
    ) -> Steps[dict[str, Found]]:
        """Read what nobody in this process is reading, and wait for the rest. Who waits has the reader's errors, too.

        What was read before this call may be older than a change of the caller: then it asks again.
        """
        called_at = time.monotonic()
        found: dict[str, Found] = {}
        left = list(row_ids)
        while left:
            led, others = self._flights.enter((row_id, wanted) for row_id in left)
            try:
                if led:
                    found |= yield from lead([row_id for row_id, _ in led], called_at)
                    for (row_id, _), flight in led.items():
                        flight.found = found[row_id]
            except RowCacheError as error:
                for flight in led.values():
                    flight.error = error
                raise
            finally:
                self._flights.leave(led)
            for (row_id, _), other in others.items():
                left_s = self._left_s(row_id, called_at)
                yield lambda port, flight=other, seconds=left_s: port.wait(flight, seconds)  # type: ignore[misc]
                if other.error is not None:
                    raise type(other.error)(str(other.error)) from other.error
                if other.found is not None and other.started_at >= called_at:
                    found[row_id] = other.found
            left = [row_id for row_id in left if row_id not in found]
        return found

    def _lead(self, row_ids: Sequence[str], wanted: Wanted, called_at: float) -> Steps[dict[str, Found]]:
        """Read rows from the cache or else from the database, once for all processes."""
        token = b"t" + secrets.token_hex(8).encode()
        found: dict[str, Found] = {}
        left, pause_s = list(row_ids), POLL_S[0]
        yield lambda port: port.prepare()  # before the rows are marked as ours, and others wait
        while True:
            begun = yield from self._begin(left, token, wanted.max_age)
            if begun is None:
                return found | (yield from self.from_database(left))
            found |= begun.cached
            if begun.ours:  # first, since others wait for them
                found |= yield from self._read(begun, token, wanted.delay)
            found |= read_outcomes(begun.notes)
            left = begun.held
            if not left:
                return found
            seconds = min(pause_s, self._left_s(left[0], called_at))
            yield lambda port, seconds=seconds: port.wait(None, seconds)  # type: ignore[misc]
            pause_s = min(2 * pause_s, POLL_S[1])

    def _begin(self, row_ids: Sequence[str], token: bytes, max_age: float | None) -> Steps[Begun | None]:
        """Ask who reads the rows; None when Redis is down and the database is to be read instead."""
        begun = Begun("", {}, [], [], {})
        try:
            for start in range(0, len(row_ids), SCRIPT_ROWS):
                part = row_ids[start : start + SCRIPT_ROWS]
                reply = yield from self._server.ask(
                    lambda port, part=part: self._fill.begin(port.client, part, token, max_age)  # type: ignore[misc]
                )
                begun.add(self._fill.parse_begun(part, reply))
        except CacheError:
            if self._options.when_redis_is_down:
                return None
            raise
        return begun

    def _read(self, begun: Begun, token: bytes, delay: float | None) -> Steps[dict[str, Found]]:
        """Read our rows from the database, and write what came of it for everybody else."""
        try:
            outcomes = yield lambda port: port.fetch(begun.ours)
        except Exception as error:
            # Others are told what the database has answered; what went wrong in this process, they may do better.
            note = failure(str(error)) if isinstance(error, FillError) and error.is_shared else NOT_READ
            yield from self._end(begun, token, dict.fromkeys(begun.ours, note), delay)
            raise
        yield from self._end(begun, token, outcomes, delay)
        return read_outcomes(outcomes)

    def _end(self, begun: Begun, token: bytes, outcomes: Mapping[str, bytes], delay: float | None) -> Steps[None]:
        """Write; the caller has its rows even when that fails."""
        rows = list(outcomes.items())
        try:
            for start in range(0, len(rows), SCRIPT_ROWS):
                part = dict(rows[start : start + SCRIPT_ROWS])
                yield from self._server.ask(
                    lambda port, part=part: self._fill.end(port.client, token, begun.began_at, part, delay)  # type: ignore[misc]
                )
        except CacheError as error:
            logger.warning("what was read of %d row(s) is not cached: %s", len(outcomes), error)

    def _left_s(self, row_id: str, called_at: float) -> float:
        """Give the seconds that a caller may still wait. Raises FillError when there are none."""
        left_s = called_at + self._limit_s - time.monotonic()
        if left_s <= 0:
            raise FillError(
                f"row {shorten(row_id)} of {self._table}: another reader has not read it within {self._limit_s:g} s: "
                "try again"
            )
        return left_s


def fetch(row_ids: Sequence[str], _called_at: float) -> Steps[dict[str, Found]]:
    """Read rows of the database, and leave no trace in Redis."""
    outcomes = yield lambda port: port.fetch(row_ids)
    return read_outcomes(outcomes)


def read_outcomes(outcomes: Mapping[str, bytes]) -> dict[str, Found]:
    """Turn outcomes into what was found. Raises FillError when one of them is that the database could not be read."""
    for note in outcomes.values():
        reason = reason_of(note, FAILED)
        if reason is not None:
            raise FillError(reason)
    return {row_id: (None, None) if note == ABSENT else (note, 0.0) for row_id, note in outcomes.items()}
