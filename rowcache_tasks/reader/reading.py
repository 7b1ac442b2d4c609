"""Own what each read does, step by step, for RowCache and AsyncRowCache alike. Does no I/O itself; knows no SQL."""

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, TypeVar

from rowcache_tasks.config.settings import MAX_BATCH_SIZE, Table
from rowcache_tasks.errors import CacheError
from rowcache_tasks.keys import encode_row_id
from rowcache_tasks.reader.fill.protocol import Filling, Flown
from rowcache_tasks.reader.fill.scripts import Fill
from rowcache_tasks.reader.near.cache import NearCache
from rowcache_tasks.reader.port import Found, Port, Steps, Wanted
from rowcache_tasks.reader.read_through import ReadThrough
from rowcache_tasks.reader.server import Server

__all__ = ["Reading"]

R = TypeVar("R")

OPEN = (b"{", "{")
"""How an object begins; a text comes from a client with decode_responses."""


class Reading:
    """The reads of one table in one process. Row ids are text."""

    def __init__(self, table: Table, options: ReadThrough, flights: Flown, near: NearCache | None) -> None:
        self._prefix = table.keys.value_prefix
        self._refreshed = table.keys.refreshed
        self._server = Server(table.name)
        self._filling = Filling(table.name, Fill(table, options), self._server, flights)
        self._falls_back = options.when_redis_is_down
        self._near = near

    def value(self, row_id: str) -> Steps[bytes | None]:
        """Give the value of a row: what most reads are."""
        key = encode_row_id(self._prefix + row_id)
        if self._near is not None:
            kept = yield from self._keep([key])
            if kept is not None:
                return kept[0]
        try:
            value: bytes | None = yield from self._server.ask(lambda port: port.client.get(key), other_type=b"")
        except CacheError:
            if not self._falls_back:
                raise
        else:
            return value
        found = yield from self._filling.from_database([row_id])
        return found[row_id][0]

    def values(self, row_ids: Sequence[str]) -> Steps[list[bytes | None]]:
        """Give the values of rows; one MGET."""
        try:
            return (yield from self._cached(row_ids))
        except CacheError:
            if not self._falls_back:
                raise
        found = yield from self._in_batches(row_ids, self._filling.from_database)
        return [found[row_id][0] for row_id in row_ids]

    def found(self, row_ids: Sequence[str], wanted: Wanted, *, with_age: bool) -> Steps[dict[str, Found]]:
        """Give values, with their ages if those are asked for, filled if that is wanted; (None, None) for no row."""
        try:
            if with_age:
                found = yield from self._aged(row_ids)
            else:
                values = yield from self._cached(row_ids)
                found = dict(zip(row_ids, zip(values, repeat(None)), strict=True))
        except CacheError:
            if not self._falls_back:
                raise
            return (yield from self._in_batches(row_ids, self._filling.from_database))
        missed = misfits(found, wanted.max_age) if wanted.is_filled else []
        if missed:
            found |= yield from self._in_batches(missed, lambda batch: self._filling.found(batch, wanted))
            if self._near is not None:  # it may not have heard yet of what this process has just written
                self._near.forget([encode_row_id(self._prefix + row_id) for row_id in missed])
        return found

    def age(self, row_id: str) -> Steps[float | None]:
        """Give the age of a row in seconds; None when it is not cached."""
        key, member = encode_row_id(self._prefix + row_id), encode_row_id(row_id)

        def ask(port: Port) -> Any:
            pipeline = port.client.pipeline(transaction=False)
            pipeline.exists(key).zscore(self._refreshed, member).time()
            return pipeline.execute()

        exists, refreshed, now = yield from self._server.ask(ask)
        return age_of(refreshed, now) if exists else None

    def exists(self, row_id: str) -> Steps[bool]:
        """Tell whether a row is cached."""
        key = encode_row_id(self._prefix + row_id)
        return bool((yield from self._server.ask(lambda port: port.client.exists(key))))

    def _cached(self, row_ids: Sequence[str]) -> Steps[list[bytes | None]]:
        """Read values, those of the near cache in this process."""
        keys = [encode_row_id(self._prefix + row_id) for row_id in row_ids]
        if self._near is not None:
            kept = yield from self._keep(keys)
            if kept is not None:
                return kept
        if len(keys) == 1:  # GET costs this process less
            value = yield from self._server.ask(lambda port: port.client.get(keys[0]), other_type=b"")
            return [value or None]
        values: list[bytes | None] = yield from self._server.ask(lambda port: port.client.mget(keys))
        return values

    def _keep(self, keys: Sequence[bytes]) -> Steps[list[bytes | None] | None]:
        """Read what is in this process, and the rest through the near cache; None when that cannot be used now."""
        assert self._near is not None  # noqa: S101 - for the type checker
        kept = self._near.get_many(keys)
        asked = [key for key, value in zip(keys, kept, strict=True) if value is None]
        if asked:
            fetched = yield lambda port: port.keep(asked)
            if fetched is None:
                return None
            answers = iter(fetched)
            kept = [next(answers) if value is None else value for value in kept]
        return [value or None for value in kept]

    def _aged(self, row_ids: Sequence[str]) -> Steps[dict[str, Found]]:
        """Read values and ages in one round trip."""
        keys = [encode_row_id(self._prefix + row_id) for row_id in row_ids]
        members = [encode_row_id(row_id) for row_id in row_ids]

        def ask(port: Port) -> Any:
            pipeline = port.client.pipeline(transaction=False)
            # A commit may come between the two: then the age is that of the value before, never less than its own.
            pipeline.zmscore(self._refreshed, members).mget(keys).time()
            return pipeline.execute()

        refreshed, values, now = yield from self._server.ask(ask)
        ages = [age_of(score, now) for score in refreshed]
        return {
            row_id: (None, None) if value is None else (value, age)
            for row_id, value, age in zip(row_ids, values, ages, strict=True)
        }

    @staticmethod
    def _in_batches(
        row_ids: Sequence[str], read: Callable[[Sequence[str]], Steps[dict[str, Found]]]
    ) -> Steps[dict[str, Found]]:
        found: dict[str, Found] = {}
        distinct = list(dict.fromkeys(row_ids))
        for start in range(0, len(distinct), MAX_BATCH_SIZE):
            found |= yield from read(distinct[start : start + MAX_BATCH_SIZE])
        return found


def misfits(found: dict[str, Found], max_age: float | None) -> list[str]:
    """Give the row ids of cached values that have to be filled: those that are no object, or too old."""
    return [
        row_id
        for row_id, (value, age) in found.items()
        if not value or value[:1] not in OPEN or (max_age is not None and (age is None or age > max_age))
    ]


def age_of(refreshed: float | None, now: tuple[int, int]) -> float | None:
    """Give the seconds since the last accepted commit, by the server's clock.

    None when there was none, or when the clock has stepped back since.
    """
    if refreshed is None:
        return None
    age_s = int(now[0]) + int(now[1]) / 1e6 - float(refreshed)
    return max(0.0, age_s) if age_s > -1 else None
