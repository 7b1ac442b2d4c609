"""Own every exception that the package raises on purpose.

    RowCacheError
    ├── ConfigError      a setting is wrong; the process must not start
    ├── ArgumentError    a caller passed something that cannot be meant; nothing was changed
    ├── SourceError      the database as a whole cannot be read just now
    ├── EncodingError    one row or one value has no faithful JSON form
    ├── CacheError       Redis cannot be read, or asked for a refresh, just now
    ├── FillError        a row that is not cached cannot be read from the database for its reader
    ├── RowTypeError     a cached row does not fit the type that a reader asked for
    └── EmbeddedError    a server of the demo or the tests cannot be started (embedded/error.py)

Each message says what was asked, what was found and what to do. "Not there" is None and "superseded, not
written" is an outcome: neither is an exception.
"""

from collections.abc import Mapping
from typing import Any

__all__ = [
    "ArgumentError",
    "CacheError",
    "ConfigError",
    "EncodingError",
    "FillError",
    "RowCacheError",
    "RowTypeError",
    "SourceError",
]


class RowCacheError(Exception):
    """Any error raised by this package on purpose."""


class ConfigError(RowCacheError):
    """A setting is wrong. One line: the setting, what was found, what is allowed."""


class ArgumentError(RowCacheError, ValueError):
    """A caller's argument is wrong. Nothing was changed."""


class SourceError(RowCacheError):
    """The database cannot be read as a whole: no connection, no such table, a statement time-out."""


class EncodingError(RowCacheError):
    """One value has no faithful JSON form; the message names its column and the reason."""


class CacheError(RowCacheError):
    """Redis does not answer a reader or a Refresher, or refuses to. Raised within its time-out.

    `left` is for a Refresher: table -> how many of the rows asked for may not be refreshed now.
    """

    def __init__(self, message: str, left: Mapping[str, int] | None = None) -> None:
        super().__init__(message)
        self.left = dict(left or {})


class FillError(RowCacheError):
    """A row that is not cached cannot be read from the database just now, or has no faithful JSON form.

    `is_shared`: whether the database itself said so, so that other processes need not ask it for a moment.
    """

    def __init__(self, message: str, *, is_shared: bool = False) -> None:
        super().__init__(message)
        self.is_shared = is_shared


class RowTypeError(RowCacheError):
    """A cached row does not fit the reader's type. One line: table, row id, column, what was found and expected.

    `table` is the table's name, `row_id` the id as it was asked for. Nothing of the row's contents is shown.
    `rows`, of get_many: what it would have returned, with None for each row that does not fit; of others it is empty.
    """

    def __init__(
        self, message: str, table: str = "", row_id: object = None, rows: Mapping[Any, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.table = table
        self.row_id = row_id
        self.rows = rows or {}
