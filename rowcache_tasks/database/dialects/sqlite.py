"""Dialect of SQLite, where types belong to values, not to columns."""

import math
import re
from collections.abc import Collection, Iterator
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, TableClause, column, text

from rowcache_tasks.database import key_type
from rowcache_tasks.database.dialects.dialect import AUTOCOMMIT, INT64, Dialect, SourceColumn
from rowcache_tasks.database.encoding import Converter, embedded, finite
from rowcache_tasks.database.key_type import KeyType
from rowcache_tasks.schedule.row_id import datetime_text

COLUMNS = text("SELECT name, type FROM pragma_table_xinfo(:table, :schema) WHERE hidden <> 1 ORDER BY cid")
SCHEMA = text("SELECT count(*) FROM pragma_database_list WHERE name = :schema COLLATE NOCASE")

ISO_DATETIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d.*", re.ASCII)
TEMPORAL = {"DATE", "DATETIME", "TIME", "TIMESTAMP", "TIMESTAMPTZ"}


class SQLite(Dialect):
    """SQLite through Python's sqlite3."""

    clock = "SELECT (julianday('now') - 2440587.5) * 86400.0"
    tomorrow = "datetime('now', '+1 day')"

    def engine_arguments(self, url: URL, statement_timeout_s: float, setting: str) -> tuple[URL, dict[str, Any]]:
        """Open files with mode=rw: a wrong path is an error, not a new empty database."""
        path = url.database
        if path and path != ":memory:" and not path.startswith("file:"):
            url = url.set(database=f"file:{quote(str(Path(path).absolute()))}")
            url = url.update_query_dict({"mode": "rw", "uri": "true"})
        return url, dict(AUTOCOMMIT)

    def set_up_session(self, dbapi_connection: Any, statement_timeout_s: float) -> None:
        """Read text that is not UTF-8 with lone surrogates, so that only its row fails to encode."""
        dbapi_connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        dbapi_connection.execute("PRAGMA query_only = ON")

    def columns(self, connection: Connection, relation: TableClause) -> list[SourceColumn]:
        """Read the declared types."""
        if not _has_schema(connection, relation.schema):
            return []
        place = {"schema": relation.schema, "table": relation.name}
        return [_describe(name, declared) for name, declared in connection.execute(COLUMNS, place)]

    def relation_names(self, connection: Connection, schema: str | None) -> list[str]:
        """List none for a schema that is not attached, which is an error to SQLite."""
        return super().relation_names(connection, schema) if _has_schema(connection, schema) else []

    def parameters(self, keys: Collection[Any]) -> dict[str, Any]:
        """Ask for each spelling of a date and time."""
        spelled: Iterator[Any] = (
            spelling
            for key in keys
            for spelling in (product(*map(_spellings, key)) if isinstance(key, tuple) else _spellings(key))
        )
        return {"row_keys": list(spelled)}

    def is_row_error(self, error: BaseException) -> bool:
        """Go by the error code; code 1 is an error in a value unless a table or column is not there."""
        code = getattr(error, "sqlite_errorcode", None)
        # 18: string or blob too big, 20: datatype mismatch
        return code in (18, 20) or (code == 1 and not self.is_catalog_error(error))

    def is_catalog_error(self, error: BaseException) -> bool:
        """Go by the text: SQLite has one code for all errors of a statement."""
        return str(error).startswith("no such ")


def _has_schema(connection: Connection, schema: str | None) -> bool:
    return schema is None or connection.scalar(SCHEMA, {"schema": schema}) == 1


def _describe(name: str, catalog_type: str) -> SourceColumn:
    """Choose how a column is read by the name of its declared type, then by its affinity."""
    declared = catalog_type.partition("(")[0].strip().upper()
    kind = _affinity(declared)
    convert: Converter = _stored
    key = {"INTEGER": key_type.integer_key(*INT64), "TEXT": key_type.text_key(), "BLOB": key_type.bytes_key()}.get(kind)
    if not declared:  # a value of any type, as in most views
        key = None
    elif declared in ("BOOLEAN", "BOOL"):
        convert, key = _boolean, key_type.BOOLEAN_KEY
    elif declared in ("JSON", "JSONB"):
        convert, key = _json, None
    elif declared in TEMPORAL:
        convert, key = _temporal, key_type.text_key() if declared in ("DATE", "TIME") else MOMENT_KEY
    elif declared == "UUID":
        key = key_type.text_key()
    elif kind == "NUMERIC":
        convert, key = _decimal, NUMERIC_KEY if declared in ("DECIMAL", "NUMERIC") else None
    return SourceColumn(name, catalog_type or "no declared type", column(name), convert, key)


def _affinity(declared: str) -> str:
    """Return the affinity that SQLite derives from a declared type (datatype3.html, section 3.1)."""
    for kind, words in (("INTEGER", ["INT"]), ("TEXT", ["CHAR", "CLOB", "TEXT"]), ("BLOB", ["BLOB"])):
        if any(word in declared for word in words):
            return kind
    if not declared:
        return "BLOB"
    return "REAL" if any(word in declared for word in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


class Moment(str):
    """Date and time in the canonical spelling: as SQLite has no type for it, each program writes it in its own way."""

    __slots__ = ()

    @property
    def spellings(self) -> list[str]:
        """Usual spellings: with T or a blank; with a short fraction, one of 3 or 6 digits; in UTC with Z or +00:00."""
        whole, _, fraction = self.removesuffix("Z").partition(".")
        fractions = dict.fromkeys([fraction, fraction.ljust(3, "0"), fraction.ljust(6, "0")])
        zones = ("Z", "+00:00") if self.endswith("Z") else ("",)
        return [
            f"{whole[:10]}{mark}{whole[11:]}{'.' if digits else ''}{digits}{zone}"
            for mark in "T "
            for digits in fractions
            for zone in zones
        ]


def read_moment(text: Any) -> Any:
    """Return the canonical spelling of a date and time, or the value itself, such as a Unix time."""
    try:
        moment = Moment(datetime_text(key_type.parse_moment(text)))
    except (ValueError, TypeError, OverflowError):
        return text
    return moment if text in moment.spellings else text


def _spellings(value: Any) -> list[Any]:
    return value.spellings if isinstance(value, Moment) else [value]


def _parse_number(text: str) -> float:
    """Return the number that NUMERIC columns have: whole where possible, else a float, however many digits it has."""
    value = key_type.DECIMAL_KEY.parse(text)
    whole = int(value)  # type: ignore[call-overload]
    number: float = whole if whole == value and INT64[0] <= whole <= INT64[1] else float(text)
    if math.isinf(number):
        raise ValueError("it is out of the column's range")
    return number


MOMENT_KEY = KeyType(lambda text: read_moment(key_type.text_key().parse(text)), read_moment)
NUMERIC_KEY = KeyType(
    _parse_number, write=lambda value: format(Decimal(repr(value)), "f") if type(value) is float else str(value)
)


def _stored(value: Any) -> object:
    return finite(value) if type(value) is float else value


def _decimal(value: Any) -> object:
    """Write a number in the digits that SQLite has, which may be fewer than were inserted."""
    if type(value) is float:
        return repr(value).replace("inf", "Infinity")
    return str(value) if type(value) is int else value


def _boolean(value: Any) -> bool:
    if type(value) is int and value in (0, 1):
        return value == 1
    raise ValueError("a BOOLEAN holds a value other than 0, 1 and NULL")


def _temporal(value: Any) -> object:
    """Write ISO text with a T; other text and numbers (Unix time, Julian day) as they are stored."""
    if type(value) is str and ISO_DATETIME.fullmatch(value):
        return value.replace(" ", "T", 1)
    return _stored(value)


def _json(value: Any) -> object:
    """Embed JSON text; SQLite turns texts that look like a number into one."""
    if type(value) is bytes:
        raise ValueError("the JSON column holds a BLOB (JSONB): store json(…) text")
    return embedded(value) if type(value) is str else _stored(value)
