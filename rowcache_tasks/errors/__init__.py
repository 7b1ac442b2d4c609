"""Exceptions that the package raises on purpose.

    RowCacheError
    ├── ConfigError      a setting is wrong; the process must not start
    │   └── MissingExtraError  a part of the package is not installed
    ├── ArgumentError    an argument of a call is wrong; nothing was changed
    ├── AdmissionError   the workers cannot refresh rows as often as asked for; nothing was changed
    ├── SourceError      the database cannot be read at the moment
    ├── EncodingError    a row or a value has no faithful JSON form
    ├── CacheError       Redis cannot be read, or asked for a refresh, at the moment
    ├── FillError        a row that is not cached cannot be read from the database for its reader
    ├── RowTypeError     a cached row does not fit the type that its reader asked for
    └── DemoError        a process of the demo or of the tests cannot run (demo/servers/child.py)

Each message has what was asked, what was found and what is allowed or to be done. A row that is not there is None, and
a commit that is superseded is an outcome: neither is an exception.
"""

from collections.abc import Mapping
from typing import Any


class RowCacheError(Exception):
    """Base of every error that the package raises on purpose."""


class ConfigError(RowCacheError):
    """A setting is wrong. One line: the setting, the value found, the values allowed."""


class MissingExtraError(ConfigError, ImportError):
    """A part of the package needs a module that is not installed. One line with the command that installs it."""

    @classmethod
    def of(cls, part: str, extra: str, error: ImportError) -> "MissingExtraError":
        """Make the error from that of the import. `part`: the part of the package, as the user calls it."""
        found = f"needs the module {error.name!r}, which is not installed" if error.name else f"cannot start: {error}"
        return cls(f"{part} {' '.join(found.split())}: pip install 'rowcache-tasks[{extra}]'")


class ArgumentError(RowCacheError, ValueError):
    """An argument of a call is wrong. Nothing was changed."""


class AdmissionError(RowCacheError):
    """The workers cannot refresh rows as often as asked for. Nothing was changed by the part that was refused."""


class SourceError(RowCacheError):
    """The database as a whole cannot be read: no connection, no such table, a statement time-out."""


class EncodingError(RowCacheError):
    """A value has no faithful JSON form. The message has its column and the reason."""


class CacheError(RowCacheError):
    """Redis does not answer a reader or a Refresher, or refuses. Raised within the time-out.

    `left`, set by a Refresher: table -> number of rows asked for that may not be refreshed now.
    """

    def __init__(self, message: str, left: Mapping[str, int] | None = None) -> None:
        super().__init__(message)
        self.left = dict(left or {})


class FillError(RowCacheError):
    """A row that is not cached cannot be read from the database at the moment, or has no faithful JSON form.

    `is_shared`: whether the error is the database's own, so that other processes need not ask it for a moment.
    """

    def __init__(self, message: str, *, is_shared: bool = False) -> None:
        super().__init__(message)
        self.is_shared = is_shared


class RowTypeError(RowCacheError):
    """A cached row does not fit the reader's type. One line: table, row id, column, type found, type expected.

    Values of the row are not shown. `table`: its name. `row_id`: as it was asked for. `rows`, set by get_many: its
    result, with None for each row that does not fit; otherwise empty.
    """

    def __init__(
        self, message: str, table: str = "", row_id: object = None, rows: Mapping[Any, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.table = table
        self.row_id = row_id
        self.rows = rows or {}
