"""Own what callers ask and get: arguments checked, values decoded, age and absence told. Does no I/O itself.

One implementation for RowCache and AsyncRowCache: each method gives the steps of a read.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from rowcache_tasks.errors import ArgumentError, FillError, RowTypeError
from rowcache_tasks.keys import encode_row_id
from rowcache_tasks.reader.cached_row import CachedRow
from rowcache_tasks.reader.fill.scripts import BAD_ROW, reason_of
from rowcache_tasks.reader.fill.single_flight import Event, Flights
from rowcache_tasks.reader.near.cache import NearCache
from rowcache_tasks.reader.options import Target
from rowcache_tasks.reader.port import Found, Steps, Wanted
from rowcache_tasks.reader.reading import Reading
from rowcache_tasks.reader.types.decoder import RowDecoder
from rowcache_tasks.schedule.arguments import is_finite, parse_delay
from rowcache_tasks.text import shorten

__all__ = ["Answers", "RowId", "parse_wanted", "text_of"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

RowId = str | int
K = TypeVar("K", bound=RowId)

AS_IT_IS = Wanted()
FILLED = Wanted(is_filled=True)


class Answers(Generic[T]):
    """The reads of one table, from the arguments of a caller to rows of their type."""

    def __init__(self, table: str, reading: Reading, decoder: RowDecoder[T]) -> None:
        self._table = table
        self._reading = reading
        self.decode = decoder.decode
        self._decode_all = decoder.decode_all

    @classmethod
    def of(
        cls, target: Target, row_type: type[T] | None, make_event: Callable[[], Event], near: NearCache | None
    ) -> "Answers[T]":
        """Put the parts together."""
        reading = Reading(target.table, target.options, Flights(make_event), near)
        decoder: RowDecoder[Any] = RowDecoder(target.table.name, row_type)
        return cls(target.table.name, reading, decoder)

    def get(self, row_id: RowId, wanted: Wanted) -> Steps[T | None]:
        """Give a row; None when it is not cached, or too old and not filled."""
        text = text_of(row_id)
        if wanted is AS_IT_IS:
            value = yield from self._reading.value(text)
        else:
            found = yield from self._reading.found([text], wanted, with_age=wanted.max_age is not None)
            value = None if is_stale(found[text], wanted) else found[text][0]
        return self._row(row_id, value)

    def get_many(self, row_ids: Iterable[K], wanted: Wanted) -> Steps[dict[K, T | None]]:
        """Give rows in the order asked."""
        asked = {row_id: text_of(row_id) for row_id in row_ids}
        if not asked:
            return {}
        if wanted is AS_IT_IS:
            values = yield from self._reading.values(list(asked.values()))
        else:
            texts = list(dict.fromkeys(asked.values()))
            found = yield from self._reading.found(texts, wanted, with_age=wanted.max_age is not None)
            values = [None if is_stale(found[text], wanted) else found[text][0] for text in asked.values()]
        return dict(zip(asked, self._rows(list(asked), values), strict=True))

    def get_with_age(self, row_id: RowId, wanted: Wanted) -> Steps[CachedRow[T] | None]:
        """Give a row, too old or not, with its age."""
        text = text_of(row_id)
        found = yield from self._reading.found([text], wanted, with_age=True)
        value, age = found[text]
        row = self._row(row_id, value)
        return None if row is None else CachedRow(row, age, is_stale(found[text], wanted))

    def age(self, row_id: RowId) -> Steps[float | None]:
        """Give the age of a row."""
        return (yield from self._reading.age(text_of(row_id)))

    def exists(self, row_id: RowId) -> Steps[bool]:
        """Tell whether a row is cached."""
        return (yield from self._reading.exists(text_of(row_id)))

    def _rows(self, row_ids: Sequence[RowId], values: Sequence[bytes | None]) -> list[T | None]:
        """Decode values: in the shortest loop, since nearly always all of them fit; else one by one.

        Raises RowTypeError, with all rows that fit.
        """
        rows = self._decode_all(values)
        if rows is not None:
            return rows
        rows, errors = [], []
        for row_id, value in zip(row_ids, values, strict=True):
            try:
                rows.append(self._row(row_id, value, is_one=False))
            except RowTypeError as error:
                rows.append(None)
                errors.append(error)
        if errors:
            first, found = errors[0], dict(zip(row_ids, rows, strict=True))
            message = f"{first} ({len(errors)} of {len(rows)} rows do not fit)" if len(errors) > 1 else str(first)
            raise RowTypeError(message, self._table, first.row_id, found) from first
        return rows

    def _row(self, row_id: RowId, value: bytes | None, *, is_one: bool = True) -> T | None:
        """Decode a value. A row that the database has and cannot give is an error; among others it is logged."""
        if value is None:
            return None
        if value[:1] == BAD_ROW:
            reason = f"row {shorten(row_id)} of {self._table} cannot be filled: {reason_of(value, BAD_ROW)}"
            if is_one:
                raise FillError(reason)
            logger.warning("%s", reason)
            return None
        return self.decode(row_id, value)


def text_of(row_id: RowId) -> str:
    """Give a row id as text. Raises ArgumentError for what no row can have."""
    if type(row_id) is str and row_id.isascii():  # as nearly all are
        return row_id
    if isinstance(row_id, str | int):
        try:
            text = str(row_id)
            encode_row_id(text)
        except ValueError as error:  # a lone surrogate, or an integer of thousands of digits
            raise ArgumentError(f"row id is {shorten(row_id)}: no row can have it") from error
        return text
    raise ArgumentError(f"row id is {shorten(row_id)}: it must be a string or an integer")


def parse_wanted(max_age: object, delay: object, *, fill: bool) -> Wanted:
    """Check the options of a read. Raises ArgumentError."""
    if max_age is None and delay is None:
        return FILLED if fill else AS_IT_IS
    if max_age is not None and (
        isinstance(max_age, bool) or not isinstance(max_age, int | float) or not is_finite(max_age) or max_age < 0
    ):
        raise ArgumentError(f"max_age is {shorten(max_age)}: it must be a number of seconds from 0 on, or None")
    if delay is not None and not fill:
        raise ArgumentError("delay is given without fill=True: it says how often a row is refreshed once it was filled")
    return Wanted(None if max_age is None else float(max_age), fill, None if delay is None else parse_delay(delay))


def is_stale(found: Found, wanted: Wanted) -> bool:
    """Whether a value is older than asked for, or of unknown age; what was just filled is not."""
    if wanted.is_filled or wanted.max_age is None:
        return False
    _, age = found
    return age is None or age > wanted.max_age
