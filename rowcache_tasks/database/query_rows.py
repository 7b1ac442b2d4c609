"""Own how a row that a query returns is read: as a row id, and the delay that the query gives it. No I/O."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from rowcache_tasks.config.query import Query
from rowcache_tasks.database.keys import RowKey
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.schedule.arguments import parse_delay
from rowcache_tasks.text import shorten

__all__ = ["QueryRow"]

KEY_VALUES = (str, int, Decimal, date, UUID)


class QueryRow:
    """Reads the rows of one query: the key columns in their order, then perhaps the seconds between refreshes."""

    def __init__(self, query: Query, row_key: RowKey, width: int) -> None:
        """Take the number of columns; raises ConfigError when it is not that of the key, or one more."""
        if width - row_key.width not in (0, 1):
            raise ConfigError(
                f"{query.setting}: the statement returns {width} column(s), the key has {row_key.width}: "
                "select the columns of the key in their order, and then perhaps one of delays in seconds"
            )
        self._query = query
        self._row_key = row_key

    def read(self, row: Sequence[Any]) -> tuple[str, float | None] | None:
        """Give row id and delay, None without one; nothing for a row whose key is NULL in part. Raises ConfigError."""
        key, rest = row[: self._row_key.width], row[self._row_key.width :]
        if None in key:
            return None
        for value in key:
            if not isinstance(value, KEY_VALUES) or isinstance(value, bool):
                raise ConfigError(
                    f"{self._query.setting}: the statement returns {shorten(value)} for the key: "
                    "allowed are whole numbers, decimals, text, UUIDs and dates"
                )
        row_id = self._row_key.write(
            [format(value, "f") if isinstance(value, Decimal) else str(value) for value in key]
        )
        try:
            self._row_key.parse(row_id)
        except ValueError as error:
            raise ConfigError(
                f"{self._query.setting}: the statement returns {shorten(row_id)}, which is no key: {error}"
            ) from error
        return row_id, self._delay(row_id, rest[0]) if rest else None

    def _delay(self, row_id: str, value: Any) -> float | None:
        if value is None:
            return None
        try:
            # PostgreSQL's numeric comes as text, MySQL's as Decimal.
            number = value if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = value
        try:
            return parse_delay(number)
        except ArgumentError as error:
            raise ConfigError(f"{self._query.setting}: row {shorten(row_id)}: {error}") from error
