"""Key of a cached table in a mapped class; row ids of its objects."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BINARY,
    CHAR,
    TIMESTAMP,
    Alias,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Numeric,
    Time,
    Uuid,
    inspect,
    select,
)
from sqlalchemy import Table as SqlTable
from sqlalchemy.orm import InstanceState, Mapper
from sqlalchemy.types import TypeEngine

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.dialects.postgresql.text import KEY_TYPES
from rowcache_tasks.database.dialects.sqlite import read_moment
from rowcache_tasks.database.key_type import BOOLEAN_KEY, KeyType
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten, suggest
from rowcache_tasks.schedule.row_id import bytes_text, join_row_id, key_text

logger = logging.getLogger(__name__)


class MappedKey:
    """Key of one cached table in a mapped class. Raises ArgumentError when it lacks a column, or is not mapped."""

    def __init__(self, mapped: type, table: Table) -> None:
        self.mapper = _mapper_of(mapped)
        self.table = table.name
        found = _key_columns(self.mapper, table)
        self._parts = [self.mapper.get_property_by_column(column) for column in found]
        self._names = [part.key for part in self._parts]
        self._types = [column.type for column in found]
        self._writers: dict[tuple[str, str], list[Callable[[Any], str]]] = {}
        self.columns = [part.class_attribute for part in self._parts]  # columns to select, or to return, for `row_id`
        self._primary = [self.mapper.get_property_by_column(column).key for column in self.mapper.primary_key]

    def values_in(self, given: Mapping[str, Any]) -> list[Any] | None:
        """Return the key in a bulk statement's parameters, named as attributes or columns; None: they lack it."""
        values = [
            next((given[name] for name in (part.key, *(column.key for column in part.columns)) if name in given), None)
            for part in self._parts
        ]
        return None if None in values else values

    def columns_of(self, sql_table: Any) -> list[Column[Any]] | None:
        """Return the columns of the key in one table of an inherited class, or its alias; None when it lacks some."""
        found: list[Column[Any]] = []
        for part in self._parts:
            here = [c for c in part.columns if isinstance(c, Column) and c.table == base_table(sql_table)]
            if not here:
                return None
            found.append(here[0] if here[0].table is sql_table else sql_table.corresponding_column(here[0]))
        return found

    def row_id(self, values: Sequence[Any], dialect: Dialect) -> str | None:
        """Write values of `columns` as a row id; None when one is NULL, or the key is an empty text."""
        if any(value is None for value in values):
            return None
        name = (dialect.name, dialect.driver)
        if name not in self._writers:
            self._writers[name] = [value_writer(kind, dialect) for kind in self._types]
        row_id = join_row_id([write(value) for write, value in zip(self._writers[name], values, strict=True)])
        if not row_id:
            logger.warning("a row of %s is not refreshed at once: its key is an empty text, not a row id", self.table)
        return row_id or None

    def id_now(self, state: InstanceState[Any], dialect: Dialect) -> str | None:
        """Return the row id of an object now; SQLAlchemy loads attributes that are not loaded."""
        return self.row_id([getattr(state.obj(), name) for name in self._names], dialect)

    def id_before(self, state: InstanceState[Any], connection: Connection) -> str | None:
        """Return the row id of an object before it is written; costs a SELECT only for a key that is not loaded."""
        identity = dict(zip(self._primary, state.identity or (), strict=False))
        values: list[Any] = []
        for name in self._names:
            history = state.attrs[name].history
            stored = [*(history.deleted or ()), *(history.unchanged or ())]
            if stored:
                values.append(stored[0])
            elif name in identity:
                values.append(identity[name])
            else:
                values = self._stored(identity, connection)
                break
        return self.row_id(values, connection.dialect)

    def _stored(self, identity: dict[str, Any], connection: Connection) -> list[Any]:
        conditions = [self.mapper.attrs[name].class_attribute == value for name, value in identity.items()]
        columns: list[Any] = self.columns
        row: Any = connection.execute(select(*columns).where(*conditions)).first()
        return [None] * len(columns) if row is None else list(row)


def base_table(sql_table: Any) -> Any:
    """Return the table below aliases."""
    while isinstance(sql_table, Alias):
        sql_table = sql_table.element
    return sql_table


def _mapper_of(mapped: type) -> Mapper[Any]:
    found: Any = inspect(mapped, raiseerr=False)
    if not isinstance(found, Mapper):
        raise ArgumentError(f"refresh_on_commit: {shorten(mapped)} is not a mapped class: allowed are SQLAlchemy's")
    return found


def _key_columns(mapper: Mapper[Any], table: Table) -> list[ColumnElement[Any]]:
    """Return the columns of the key in the class, in the order of row ids."""
    local = mapper.local_table
    nearest = [column for column in mapper.columns if column.table is local]
    columns = {column.name: column for column in (*mapper.columns, *nearest)}
    if table.key:
        for name in table.key:
            if name not in columns:
                raise ArgumentError(
                    f"refresh_on_commit: {mapper.class_.__name__} has no column {name!r}, "
                    f"of the key of {table.setting}{suggest(name, columns)}"
                )
        return [columns[name] for name in table.key]
    own = local.primary_key if isinstance(local, SqlTable) else ()
    primary: list[Any] = [column for column in own if column in set(nearest)] or list(mapper.primary_key)
    if len(primary) > 1:
        raise ArgumentError(
            f"refresh_on_commit: {mapper.class_.__name__} has a primary key of {len(primary)} columns, "
            f'and {table.setting} has no "key" for their order in row ids: add "key": '
            f"{[column.name for column in primary]!r}, in the order that the primary key has in the database"
        )
    return primary


EXACT = Context(prec=2000, rounding=ROUND_HALF_UP)


def value_writer(column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], str]:
    """Make the function that converts a value as for the driver, and then to text."""
    process = column_type.dialect_impl(dialect).bind_processor(dialect)
    chosen = column_type._variant_mapping.get(dialect.name, column_type)  # of with_variant()
    plain = getattr(chosen, "impl_instance", chosen)  # the database type of a TypeDecorator
    scale = plain.scale if isinstance(plain, Numeric) else None
    padded = isinstance(plain, CHAR) and dialect.name != "sqlite"
    # Stored as text, a UUID stays as it was spelled.
    is_uuid = isinstance(plain, Uuid) and plain.native_uuid and dialect.supports_native_uuid
    is_boolean = isinstance(plain, Boolean) and dialect.name == "sqlite"
    is_moment = isinstance(plain, DateTime) and dialect.name == "sqlite"
    zone = "Z" if isinstance(plain, TIMESTAMP) and dialect.name in ("mysql", "mariadb") else ""
    canonical = _canonical_type(plain) if dialect.name == "postgresql" else None
    width = plain.length or 0 if isinstance(plain, BINARY) else 0

    def write(value: Any) -> str:
        stored = value if process is None else process(value)
        if is_uuid:
            return _write_uuid(stored)
        if scale is not None:
            return _write_decimal(stored, scale)
        if is_boolean:
            return BOOLEAN_KEY.write(stored)
        if is_moment:
            return str(read_moment(stored))
        if width:
            return bytes_text(_bytes_of(stored).ljust(width, b"\0"))
        text = _write_plain(stored, canonical)
        return text.rstrip(" ") if padded else text.removesuffix(zone) + zone

    return write


def _canonical_type(column_type: Any) -> KeyType | None:
    """Return the type of PostgreSQL that has several texts of one value. A naive datetime counts as UTC."""
    if isinstance(column_type, DateTime):
        return KEY_TYPES["timestamptz" if column_type.timezone else "timestamp"]
    if isinstance(column_type, Time):
        return None if column_type.timezone else KEY_TYPES["time"]
    name = column_type.__visit_name__
    return KEY_TYPES[name.lower()] if name in ("INET", "CIDR", "MACADDR", "MACADDR8") else None


def _write_plain(value: Any, kind: KeyType | None) -> str:
    """Write a value for the driver, as `kind` does if there is one; one that no row has is left to the database."""
    try:
        text = key_text(_bytes_of(value))
    except ArgumentError:
        text = str(value)
    with suppress(ValueError):
        return kind.write(kind.parse(text)) if kind else text
    return text


def _bytes_of(value: Any) -> Any:
    """Return the bytes in a driver's wrapper of binary values, such as psycopg's Binary; others as they are."""
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return getattr(value, "obj", getattr(value, "adapted", value))


def _write_uuid(value: Any) -> str:
    with suppress(ValueError):  # left to the database
        return str(UUID(str(value)))
    return str(value)


def _write_decimal(value: Any, scale: int) -> str:
    try:
        number = Decimal(str(value))
    except InvalidOperation:  # left to the database
        return str(value)
    return format(number.quantize(Decimal((0, (1,), -scale)), context=EXACT) if number.is_finite() else number, "f")
