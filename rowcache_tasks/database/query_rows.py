"""Rows of a seed query, read as row ids and delays."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from rowcache_tasks.config.query import Query
from rowcache_tasks.database.keys import RowKey
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.schedule.arguments import parse_delay
from rowcache_tasks.schedule.row_id import key_text


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
