"""Reader: commands of each read, and rows in their replies; no I/O."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import ArgumentError, FillError, RowTypeError
from rowcache_tasks.errors.text import redact, shorten
from rowcache_tasks.reader.fill.scripts import BAD_ROW, Found, reason_of
from rowcache_tasks.reader.near.cache import NearCache, NearStatistics
from rowcache_tasks.reader.options import ReaderSettings, ReadRequest, ReadThrough, find_settings
from rowcache_tasks.reader.pool import shared_client
from rowcache_tasks.reader.server import PIECE, Command, Server
from rowcache_tasks.reader.types.decoder import Row, RowDecoder
from rowcache_tasks.schedule.connection import check_timeout
from rowcache_tasks.schedule.row_id import Key, Many, encode_row_id, key_list, key_text
from rowcache_tasks.schedule.rows import cut

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Key)

OPENINGS = (b"{", "{")
"""First characters of an object; a text comes from a client with decode_responses."""


@dataclass(frozen=True, slots=True)
class CachedRow(Generic[Row]):
    """A cached row and its age."""

    row: Row
    age: float | None
    """Seconds since a refresh last confirmed the value, by the server's clock; None: not known."""
    is_stale: bool
    """Whether it is older than max_age, or of unknown age; always False without max_age."""


class Reader(Generic[Row]):
    """The common part of RowCache and AsyncRowCache: options, and for each read its commands and its reply."""

    _client_type: type

    def __init__(  # noqa: PLR0913 the options of RowCache
        self,
        table: str,
        row_type: "type[Row] | None",
        *,
        client: Any = None,
        url: str | None = None,
        namespace: str | None = None,
        timeout: float = 1.0,
        near: int = 0,
        read_through: ReadThrough | None = None,
        app: object = None,
    ) -> None:
        settings = find_settings(table, url, namespace, client, self._client_type, read_through, app)
        self._open(settings, row_type, client, check_timeout(timeout), near)

    def _open(
        self, settings: ReaderSettings, row_type: "type[Row] | None", client: Any, timeout_s: float, near: int
    ) -> None:
        """Make the parts, none of which has a connection yet."""
        self._settings, self._row_type, self._given, self._timeout_s = settings, row_type, client, timeout_s
        self._near = None
        if near:
            address = client or shared_client(settings.url, timeout_s)
            self._near = NearCache(address, max_rows=near, wait_s=timeout_s / 2)
        self._server = Server(settings.table.name)
        self._breaker = self._server.breaker
        self._prefix, self._refreshed = settings.table.keys.value_prefix, settings.table.keys.refreshed
        decoder: RowDecoder[Row] = RowDecoder(settings.table.name, row_type)
        self._decode, self._decode_all = decoder.decode, decoder.decode_all

    def __getstate__(self) -> tuple[Any, ...]:
        """Return the settings, with the login of Redis: a copy in another process has connections of its own."""
        if self._given is not None:
            raise TypeError(f"{self!r} cannot be pickled: it has a client of the application; give url instead")
        near = 0 if self._near is None else self._near.max_rows
        return self._settings, self._row_type, None, self._timeout_s, near

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._open(*state)

    def __repr__(self) -> str:
        server = (
            f"url={redact(self._settings.url)!r}" if self._given is None else f"client={type(self._given).__name__}"
        )
        kind = "" if self._row_type is None else f", type={getattr(self._row_type, '__name__', self._row_type)}"
        return f"{type(self).__name__}({self.table.name!r}, {server}, namespace={self.table.namespace!r}{kind})"

    @property
    def table(self) -> Table:
        """The settings of the table that is read."""
        return self._settings.table

    def near_statistics(self) -> NearStatistics | None:
        """Return the counts of the near cache of this process; None when there is none."""
        return None if self._near is None else self._near.statistics()

    def _keys(self, row_ids: Iterable[str]) -> list[bytes]:
        """Name the keys of values."""
        return [encode_row_id(self._prefix + row_id) for row_id in row_ids]

    @staticmethod
    def _value_commands(keys: Sequence[bytes]) -> list[Command]:
        """Ask for values."""
        return [("MGET", *piece) for piece in cut(keys, PIECE)]

    def _age_commands(self, row_id: str) -> list[Command]:
        """Ask for the age of a row."""
        return [
            ("EXISTS", encode_row_id(self._prefix + row_id)),
            ("ZSCORE", self._refreshed, encode_row_id(row_id)),
            ("TIME",),
        ]

    @staticmethod
    def _read_age(reply: Sequence[Any]) -> float | None:
        """Return the age in seconds; None for a row that is not cached, or of unknown age."""
        exists, refreshed, now = reply
        return age_of(refreshed, now) if exists else None

    def _aged_commands(self, row_ids: Sequence[str]) -> list[Command]:
        """Ask for rows and their ages: ages first, so that a commit in between makes an age too high, not too low."""
        scores = [("ZMSCORE", self._refreshed, *map(encode_row_id, piece)) for piece in cut(row_ids, PIECE)]
        return [*scores, *self._value_commands(self._keys(row_ids)), ("TIME",)]

    @staticmethod
    def _read_aged(row_ids: Sequence[str], reply: Sequence[Any]) -> dict[str, Found]:
        """Return values and ages; (None, None) for a row that is not cached."""
        *pieces, now = reply
        half = len(pieces) // 2
        scores, values = chain.from_iterable(pieces[:half]), chain.from_iterable(pieces[half:])
        return {
            row_id: (None, None) if value is None else (value, age_of(score, now))
            for row_id, value, score in zip(row_ids, values, scores, strict=True)
        }

    @staticmethod
    def _fresh_value(found: Found, request: ReadRequest) -> bytes | None:
        """Return the value unless it is stale."""
        return None if is_stale(found, request) else found[0]

    def _row(self, row_id: Key, value: bytes | None) -> Row | None:
        """Decode a value. Raises FillError for a row that the database has and cannot give, and RowTypeError."""
        if value is None:
            return None
        if value[:1] == BAD_ROW:
            raise FillError(self._bad_row(row_id, value))
        return self._decode(row_id, value)

    def _cached_row(self, row_id: Key, found: Found, request: ReadRequest) -> CachedRow[Row] | None:
        """Decode a value with its age, however old. Raises as `_row` does."""
        value, age = found
        row = self._row(row_id, value)
        return None if row is None else CachedRow(row, age, is_stale(found, request))

    def _rows(self, row_ids: Iterable[K], values: Sequence[bytes | None]) -> dict[K, Row | None]:
        """Decode values, all in one short loop if they fit, as nearly always; else one by one.

        A row that the database has and cannot give is logged, and None. Raises RowTypeError with all rows that fit.
        """
        rows = self._decode_all(values)
        if rows is not None:
            return dict(zip(row_ids, rows, strict=True))
        found: dict[K, Row | None] = {}
        errors = []
        for row_id, value in zip(row_ids, values, strict=True):
            found[row_id] = None
            if value is not None and value[:1] == BAD_ROW:
                logger.warning("%s", self._bad_row(row_id, value))
                continue
            try:
                found[row_id] = self._row(row_id, value)
            except RowTypeError as error:
                errors.append(error)
        if errors:
            message = f"{errors[0]} ({len(errors)} of {len(found)} rows do not fit)" if errors[1:] else str(errors[0])
            raise RowTypeError(message, self.table.name, errors[0].row_id, found) from errors[0]
        return found

    def _bad_row(self, row_id: Key, value: bytes) -> str:
        return f"row {shorten(row_id)} of {self.table.name} cannot be filled: {reason_of(value, BAD_ROW)}"


def texts_of(keys: "Many[K]") -> dict[K, str]:
    """Return key -> text for each key asked. Raises ArgumentError, also for equal keys with different texts."""
    listed: list[Any] = key_list(keys)
    texts = list(map(key_text, listed))
    asked: dict[Any, str] = dict(zip(listed, texts, strict=True))
    if len(asked) < len(texts) and list(map(asked.__getitem__, listed)) != texts:  # 1 and True, 1.5 and 1.50
        raise ArgumentError("row_ids has keys that are equal in Python, and different row ids: ask one after the other")
    return asked


def is_object(value: Any) -> bool:
    """Whether a value begins as a JSON object; anything else counts as not cached."""
    return bool(value) and value[:1] in OPENINGS


def is_missed(found: Found, request: ReadRequest) -> bool:
    """Whether a row is to be filled: not cached, or too old."""
    return request.is_filled and (not is_object(found[0]) or is_older(found[1], request.max_age))


def is_stale(found: Found, request: ReadRequest) -> bool:
    """Whether a value is older than max_age, or of unknown age. A value that was filled just now is not."""
    return not request.is_filled and is_older(found[1], request.max_age)


def is_older(age: float | None, max_age: float | None) -> bool:
    """Compare ages in seconds; an unknown age is older than any, and no max_age allows all."""
    return max_age is not None and (age is None or age > max_age)


def age_of(refreshed: float | None, now: tuple[int, int]) -> float | None:
    """Return the seconds since the last accepted commit, by the server's clock.

    None when there was none, or when the clock has stepped back since.
    """
    if refreshed is None:
        return None
    age_s = int(now[0]) + int(now[1]) / 1e6 - float(refreshed)
    return max(0.0, age_s) if age_s > -1 else None
