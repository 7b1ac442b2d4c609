"""Reads of RowCache and AsyncRowCache, as coroutines over their I/O."""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

from rowcache_tasks.errors import CacheError, FillError, RowTypeError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.keys import divide_row_ids, partition_of
from rowcache_tasks.reader.fill.scripts import BAD_ROW, BadRow, Found, reason_of
from rowcache_tasks.reader.near.cache import NearCache
from rowcache_tasks.reader.options import AS_CACHED, DATABASE_ALONE, FILLED, ReadRequest, anew
from rowcache_tasks.reader.reader import Reader
from rowcache_tasks.reader.server import PIECE, is_wrong_type
from rowcache_tasks.reader.types.decoder import Row
from rowcache_tasks.reader.values import (
    age_of,
    is_missed,
    is_object,
    is_stale,
    next_count,
    read_aged,
    read_everywhere,
    read_values,
)
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.row_id import Key, Many, encode_keys, encode_row_id, key_text, texts_of

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Key)


@dataclass(frozen=True, slots=True)
class CachedRow(Generic[Row]):
    """A cached row and its age."""

    row: Row
    age: float | None
    """Seconds since a refresh last confirmed the value, by the server's clock; None: not known."""
    is_stale: bool
    """Whether it is older than max_age, or of unknown age; always False without max_age."""


class Operations(Reader[Row]):
    """The steps of each read, and the rows in its replies."""

    async def _many(self, row_ids: Many[Any], request: ReadRequest) -> dict[Any, Row | None]:
        keys, texts = texts_of(row_ids)
        values = await self._values(texts, request)
        rows = self._decoder.decode_all(values)  # all in one short loop, as nearly always
        if rows is None:
            return self._rows(keys, await self._refill(texts, values, request))
        return dict(zip(keys, rows, strict=True))

    async def _one(self, row_id: Key, text: str, request: ReadRequest) -> Row | None:
        (value,) = await self._refill([text], await self._values([text], request), request)
        return self._row(row_id, value)

    async def _one_after(self, row_id: Key, text: str, request: ReadRequest, error: Exception) -> Row | None:
        """Read a row whose GET was an error."""
        if is_wrong_type(error):  # which MGET treats as not there
            return await self._one(row_id, text, request)
        found = await self._fill_without_redis(self._server.failure(error), [text])
        return self._row(row_id, found[text][0])

    async def _one_missed(self, row_id: Key, text: str, *, fill: bool) -> Row | None:
        """Fill a row that GET did not find; of a table that grows, first look for it where else it may be."""
        if self._grows:
            return await self._one(row_id, text, FILLED if fill else AS_CACHED)
        found = await self._fill([text], FILLED)
        return self._row(row_id, found[text][0])

    async def _one_with_age(self, row_id: Key, request: ReadRequest) -> CachedRow[Row] | None:
        text = key_text(row_id)
        value, age = (await self._aged([text], request))[text]
        if request.is_filled and self._decoder.refuses(row_id, value):
            value, age = (await self._fill([text], anew(request)))[text]
        row = self._row(row_id, value)
        return None if row is None else CachedRow(row, age, is_stale((value, age), request))

    async def _age(self, row_id: Key) -> float | None:
        text = key_text(row_id)
        if self._grows:
            return (await read_everywhere(self._here(), self._settings.table, [text], read_aged))[text][1]
        part = self._settings.table.part_of(text)
        commands = ("EXISTS", *self._keys([text])), ("ZSCORE", part.keys.refreshed, encode_row_id(text)), ("TIME",)
        exists, refreshed, now = await self._here().send(commands)
        return age_of(refreshed, now) if exists else None

    async def _exists(self, row_id: Key) -> bool:
        if self._grows:
            return (await self._part([key_text(row_id)]))[0] is not None
        (count,) = await self._here().send([("EXISTS", *self._keys([key_text(row_id)]))])
        return bool(count)

    async def _values(self, row_ids: Sequence[str], request: ReadRequest) -> list[bytes | None]:
        """Read values in the order asked; None for a row that is not cached, or too old."""
        if request.max_age is not None:
            found = await self._aged(row_ids, request)
            return [None if is_stale(found[row_id], request) else found[row_id][0] for row_id in row_ids]
        try:
            values = await self._cached(row_ids)
        except CacheError as error:
            found = await self._fill_without_redis(error, row_ids)
            return [found[row_id][0] for row_id in row_ids]
        if request.is_filled:
            missed = [text for text, value in zip(row_ids, values, strict=True) if not is_object(value)]
            found = await self._fill(missed, request)
            values = [found[text][0] if text in found else value for text, value in zip(row_ids, values, strict=True)]
        return values

    async def _aged(self, row_ids: Sequence[str], request: ReadRequest) -> dict[str, Found]:
        """Read values with their ages; (None, None) for a row that is not cached."""
        ages: list[float | None] = []
        try:
            values = await self._cached(row_ids, ages)
        except CacheError as error:
            return await self._fill_without_redis(error, row_ids)
        found = dict(zip(row_ids, zip(values, ages, strict=True), strict=True))
        missed = [row_id for row_id, each in found.items() if is_missed(each, request)]
        return found | (await self._fill(missed, request))

    async def _cached(self, row_ids: Sequence[str], ages: "list[float | None] | None" = None) -> list[bytes | None]:
        """Read cached values in the order asked, and append their ages to `ages`.

        The size of the values decides how many are read in the next round trip.
        """
        values: list[bytes | None] = []
        count = 0
        while len(values) < len(row_ids):
            count = next_count(values[-count:])
            part = row_ids[len(values) : len(values) + count]
            values += await (self._part(part) if ages is None else self._aged_part(part, ages))
        return values

    async def _part(self, row_ids: Sequence[str]) -> list[bytes | None]:
        near = self._near
        if near is not None and (found := (await self._near_part(near, self._keys(row_ids)))) is not None:
            return found
        if self._grows:
            moving = await read_everywhere(self._here(), self._settings.table, row_ids, read_values)
            return [moving[row_id][0] for row_id in row_ids]
        divided = {0: row_ids} if self._prefix else divide_row_ids(row_ids, len(self._prefixes))
        keys = (encode_keys(self._prefixes[number], some) for number, some in divided.items())
        replies = await self._here().send([("MGET", *piece) for each in keys for piece in cut(each, PIECE)])
        values = [*chain.from_iterable(replies)]
        if self._prefix:
            return values
        return list(map(dict(zip(chain.from_iterable(divided.values()), values, strict=True)).get, row_ids))

    async def _near_part(self, near: NearCache, keys: Sequence[bytes]) -> list[bytes | None] | None:
        """Read values through the near cache; None when they must be read with the client."""
        kept = near.get_many(keys)
        fetched: list[bytes] = []
        for piece in cut((key for key, value in zip(keys, kept, strict=True) if value is None), PIECE):
            values = await self._here().fetch(near, piece)
            if values is None:
                near.forget(keys)  # the client may read newer values
                return None
            fetched += values
        rest = iter(fetched)
        return [(next(rest) if value is None else value) or None for value in kept]

    async def _aged_part(self, row_ids: Sequence[str], ages: list[float | None]) -> list[bytes | None]:
        found = await read_everywhere(self._here(), self._settings.table, row_ids, read_aged)
        ages += [found[row_id][1] for row_id in row_ids]
        return [found[row_id][0] for row_id in row_ids]

    async def _fill(self, row_ids: Sequence[str], request: ReadRequest) -> dict[str, Found]:
        """Read rows from the cache or else from the database, once for all callers."""
        if not row_ids:
            return {}
        found: dict[str, Found] = await self._here().fill(row_ids, request)
        if self._near is not None:  # it may not have the invalidations of these writes yet
            self._near.forget(self._keys(found))
        return found

    async def _refill(
        self, row_ids: Sequence[str], values: Sequence[bytes | None], request: ReadRequest
    ) -> Sequence[bytes | None]:
        """Return the values; with `fill`, those that another program wrote and that are no JSON are read anew."""
        pairs = list(zip(row_ids, values, strict=True)) if request.is_filled else []
        refused = [row_id for row_id, value in pairs if self._decoder.refuses(row_id, value)]
        found = await self._fill(refused, anew(request))
        return [found[row_id][0] if row_id in found else value for row_id, value in pairs] or values

    async def _fill_without_redis(self, error: CacheError, row_ids: Sequence[str]) -> dict[str, Found]:
        """Read rows from the database alone, if the options allow it; else raise the error."""
        if not self._settings.read_through.when_redis_is_down:
            raise error
        return await self._fill(row_ids, DATABASE_ALONE)

    def _keys(self, row_ids: Collection[str]) -> list[bytes]:
        """Name the keys of values."""
        if self._prefix:
            return encode_keys(self._prefix, row_ids)
        return [encode_row_id(self._prefix_of(row_id) + row_id) for row_id in row_ids]

    def _prefix_of(self, text: str) -> str:
        """Return how the key of the value of a row begins."""
        return self._prefixes[partition_of(text, len(self._prefixes))]

    def _row(self, row_id: Key, value: bytes | None) -> Row | None:
        """Decode a value. Raises FillError for a row that the database has and cannot give, and RowTypeError."""
        if value is None:
            return None
        if isinstance(value, BadRow):
            raise FillError(self._bad_row(row_id, value))
        return self._decoder.decode(row_id, value)

    def _rows(self, row_ids: Iterable[K], values: Sequence[bytes | None]) -> dict[K, Row | None]:
        """Decode values one by one.

        A row that the database has and cannot give is logged, and None. Raises RowTypeError with all rows that fit.
        """
        found: dict[K, Row | None] = {}
        errors = []
        for row_id, value in dict(zip(row_ids, values, strict=True)).items():
            found[row_id] = None
            if isinstance(value, BadRow):
                logger.warning("%s", self._bad_row(row_id, value))
                continue
            try:
                found[row_id] = self._row(row_id, value)
            except RowTypeError as error:
                errors.append(error)
        if errors:
            message = f"{errors[0]} ({len(errors)} of {len(found)} rows do not fit)" if errors[1:] else str(errors[0])
            raise RowTypeError(message, self._settings.table.name, errors[0].row_id, found) from errors[0]
        return found

    def _bad_row(self, row_id: Key, value: BadRow) -> str:
        return f"row {shorten(row_id)} of {self._settings.table.name} cannot be filled: {reason_of(value, BAD_ROW)}"
