"""Key of a cached table in a mapped class; row ids of its objects."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Dialect
from sqlalchemy.orm import InstanceState, Mapper
from sqlalchemy.types import TypeEngine

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.dialects.postgresql import text as postgresql
from rowcache_tasks.database.dialects.sqlite import MOMENT_KEY
from rowcache_tasks.database.key_type import BOOLEAN_KEY, KeyType, bytes_key, moment_key, text_key
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten, suggest
from rowcache_tasks.schedule.row_id import join_row_id, key_text

logger = logging.getLogger(__name__)

C = TypeVar("C")
EXACT = Context(prec=2000, rounding=ROUND_HALF_UP)
UUID_KEY = KeyType(lambda text: str(UUID(text)))
OF_MYSQL = ((sa.TIMESTAMP, moment_key(is_utc=True)), (sa.CHAR, text_key(padded=True)))
KEY_TYPES: dict[str, tuple[tuple[type[TypeEngine[Any]], KeyType], ...]] = {
    "sqlite": ((sa.Boolean, BOOLEAN_KEY), (sa.DateTime, MOMENT_KEY)),
    "mysql": OF_MYSQL,
    "mariadb": OF_MYSQL,
}
"""Dialect -> types of SQLAlchemy whose values have several texts."""


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
        row: Any = connection.execute(sa.select(*columns).where(*conditions)).first()
        return [None] * len(columns) if row is None else list(row)


def base_table(sql_table: Any) -> Any:
    """Return the table below aliases."""
    while isinstance(sql_table, sa.Alias):
        sql_table = sql_table.element
    return sql_table


def _mapper_of(mapped: type) -> Mapper[Any]:
    found: Any = sa.inspect(mapped, raiseerr=False)
    if not isinstance(found, Mapper):
        raise ArgumentError(f"refresh_on_commit: {shorten(mapped)} is not a mapped class: allowed are SQLAlchemy's")
    return found


def _key_columns(mapper: Mapper[Any], table: Table) -> list[sa.ColumnElement[Any]]:
    """Return the columns of the key in the class, in the order of row ids."""
    local = mapper.local_table
    nearest = [column for column in mapper.columns if column.table is local]
    own = local.primary_key if isinstance(local, sa.Table) else ()
    primary: list[Any] = [column for column in own if column in set(nearest)] or list(mapper.primary_key)
    columns = {column.name: column for column in (*mapper.columns, *nearest)}
    place = f"refresh_on_commit: {mapper.class_.__name__}"
    return key_columns(place, table, columns, {column.name: column for column in primary})


def key_columns(place: str, table: Table, columns: Mapping[str, C], primary: Mapping[str, C]) -> list[C]:
    """Return the columns of the key of a table, in the order of row ids, of those in a class and its primary key.

    Raises ArgumentError; its text begins with `place`.
    """
    if not table.key and len(primary) > 1:
        raise ArgumentError(
            f'{place} has a primary key of {len(primary)} columns, and {table.setting} has no "key" for their order in '
            f'row ids: add "key": {[*primary]!r}, in the order that the primary key has in the database'
        )
    for name in table.key:
        if name not in columns:
            hint = suggest(name, columns)
            raise ArgumentError(f"{place} has no column {name!r}, of the key of {table.setting}{hint}")
    return [columns[name] for name in table.key] or [*primary.values()]


def value_writer(column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], str]:
    """Make the function that converts a value as for the driver, and then to text."""
    process = column_type.dialect_impl(dialect).bind_processor(dialect)
    chosen = column_type._variant_mapping.get(dialect.name, column_type)  # of with_variant()
    kind = _key_type(getattr(chosen, "impl_instance", chosen), dialect)  # the database type of a TypeDecorator

    def write(value: Any) -> str:
        stored = value if process is None else process(value)
        if isinstance(stored, bytearray | memoryview):
            stored = bytes(stored)
        stored = getattr(stored, "obj", getattr(stored, "adapted", stored))  # wrappers of drivers, as psycopg's Binary
        try:
            text = key_text(stored)
        except ArgumentError:
            text = str(stored)
        with suppress(ValueError, ArithmeticError):  # a value that no row has is left to the database
            return kind.write(kind.parse(text)) if kind else text
        return text

    return write


def _key_type(column_type: Any, dialect: Dialect) -> KeyType | None:
    """Return the key type of a column that has several texts of one value; None: it has one."""
    if isinstance(column_type, sa.Numeric) and column_type.scale is not None:
        return _decimal_key(column_type.scale)
    if isinstance(column_type, sa.BINARY) and column_type.length:
        return bytes_key(column_type.length)
    if isinstance(column_type, sa.Uuid):  # stored as text, a UUID stays as it was spelled
        return UUID_KEY if column_type.native_uuid and dialect.supports_native_uuid else None
    for kind, key_type in KEY_TYPES.get(dialect.name, ()):
        if isinstance(column_type, kind):
            return key_type
    if dialect.name != "postgresql":
        return None
    names = {sa.CHAR: "bpchar", sa.DateTime: "timestamp", sa.Time: "time"}  # a naive datetime is in UTC
    name = next((name for kind, name in names.items() if isinstance(column_type, kind)), column_type.__visit_name__)
    return postgresql.KEY_TYPES.get(name.lower() + ("tz" if getattr(column_type, "timezone", False) else ""))


def _decimal_key(scale: int) -> KeyType:
    """Return the type of decimal numbers with so many digits after the point."""
    last = Decimal((0, (1,), -scale))
    return KeyType(lambda text: Decimal(text).quantize(last, context=EXACT), write=lambda value: format(value, "f"))
