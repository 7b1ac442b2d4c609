"""Keys of rows and their text form, the row id; rows of seed queries."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any

from rowcache_tasks.config.query import Query
from rowcache_tasks.database.key_type import KeyType, as_it_is
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.errors.text import MAX_TEXT, one_line, shorten
from rowcache_tasks.schedule.arguments import parse_delay
from rowcache_tasks.schedule.row_id import join_row_id, key_text, split_row_id


class RowKey:
    """Key of a table: row ids to values and back. A key of one column is a bare value, of several a tuple."""

    def __init__(self, types: Sequence[KeyType]) -> None:
        self._types = tuple(types)
        self._writers = [kind.write if kind.read is as_it_is else _composed(kind) for kind in types]
        self.width = len(self._types)  # number of columns

    def parse(self, row_id: str) -> Any:
        """Return the key of a row id; raises ValueError with the reason when it has none."""
        if not row_id:
            raise ValueError("it is empty")
        if self.width == 1:
            return self._types[0].parse(row_id)
        key = []
        for number, part in enumerate(split_row_id(row_id, self.width)):
            try:
                key.append(self._types[number].parse(part))
            except ValueError as error:
                raise ValueError(f"part {number + 1}: {error}") from error
        return tuple(key)

    def parse_all(self, row_ids: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return row id -> key, and row id -> reason, one line, for each that has none."""
        canonical = self.parse_canonical(row_ids)
        keys = dict(zip(row_ids, canonical or (), strict=False))
        if canonical is not None and "" not in keys:
            return keys, {}
        keys = {}
        errors: dict[str, str] = {}
        for row_id in row_ids:
            try:
                keys[row_id] = self.parse(row_id)
            except ValueError as error:
                errors[row_id] = one_line(f"row id {shorten(row_id)}: {error}", MAX_TEXT)
        return keys, errors

    def parse_canonical(self, row_ids: Sequence[str]) -> Sequence[Any] | None:
        """Return the keys of a usual batch, column by column; None unless each row id, or empty text, is canonical."""
        if not row_ids:
            return []
        if self.width == 1:
            return self._types[0].parse_canonical(row_ids)
        parts = [row_id.split(",") for row_id in row_ids]
        if "%" in "".join(row_ids) or any(len(row) != self.width for row in parts):
            return None
        columns = [
            kind.parse_canonical(texts) for kind, texts in zip(self._types, zip(*parts, strict=True), strict=True)
        ]
        return None if None in columns else list(zip(*columns, strict=True))

    def mistakes(self, row_ids: Sequence[str]) -> dict[str, str]:
        """Return the row ids that are no key, or another text for one ("042" for "42") -> the reason."""
        keys, errors = self.parse_all(row_ids)
        for row_id, key in keys.items():
            if (text := self.text(key)) != row_id:
                errors[row_id] = f"it is another text for {shorten(text)}: ask for that"
        return errors

    def getter(self, positions: Sequence[int]) -> Callable[[Sequence[Any]], Any]:
        """Make the function that returns the key of a row of driver values."""
        take: Callable[[Sequence[Any]], Any] = itemgetter(*positions)
        reads = [kind.read for kind in self._types]
        if all(read is as_it_is for read in reads):
            return take
        if len(reads) == 1:
            return lambda row: reads[0](take(row))
        return lambda row: tuple(read(value) for read, value in zip(reads, take(row), strict=True))

    def write(self, values: Sequence[Any]) -> str:
        """Return the canonical row id of driver values, none of them NULL; empty for a key that has none."""
        return join_row_id([write(value) for write, value in zip(self._writers, values, strict=True)])

    def text(self, key: Any) -> str:
        """Return the canonical row id of a key, as `parse` returns it."""
        values = key if self.width > 1 else (key,)
        return join_row_id([kind.write(value) for kind, value in zip(self._types, values, strict=True)])


def _composed(kind: KeyType) -> Callable[[Any], str]:
    return lambda value: kind.write(kind.read(value))


class QueryRows:
    """Reader of the rows of one query: the key columns in their order, then perhaps a delay in seconds."""

    def __init__(self, query: Query, row_key: RowKey, width: int) -> None:
        """`width`: number of columns. Raises ConfigError unless it is that of the key, or one more."""
        if width - row_key.width not in (0, 1):
            raise ConfigError(
                f"{query.setting}: the statement returns {width} column(s), the key has {row_key.width}: "
                "select the columns of the key in their order, and then perhaps one of delays in seconds"
            )
        self._setting = query.setting
        self._row_key = row_key

    def read(self, row: Sequence[Any]) -> tuple[str, float | None] | None:
        """Return row id and delay (None: no delay), or None for a row without a row id. Raises ConfigError."""
        key, delay = row[: self._row_key.width], row[self._row_key.width :]
        if None in key:
            return None
        if tuple(key) == ("",):
            return None
        try:  # SQLite has floats for decimals
            row_id = key_text(tuple(Decimal(repr(value)) if isinstance(value, float) else value for value in key))
        except ArgumentError as error:
            raise ConfigError(f"{self._setting}: the statement returns for the key: {error}") from error
        try:
            row_id = self._row_key.text(self._row_key.parse(row_id))
            if not row_id:
                return None
            return row_id, _parse_number(delay[0]) if delay and delay[0] is not None else None
        except ArgumentError as error:
            raise ConfigError(f"{self._setting}: row {shorten(row_id)}: {error}") from error
        except ValueError as error:
            raise ConfigError(
                f"{self._setting}: the statement returns {shorten(row_id)}, which is not a key: {error}"
            ) from error


def _parse_number(value: Any) -> float:
    """Parse a delay; PostgreSQL's numeric arrives as text, MySQL's as Decimal. Raises ArgumentError."""
    try:
        number = value if isinstance(value, bool | timedelta) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = value
    return parse_delay(number)
