"""Own how a cached value becomes an instance of a class that SQLAlchemy maps.

Imports SQLAlchemy: row_type.py imports this module when it is given such a class. Must not know Redis.
"""

from dataclasses import dataclass
from typing import Any, Required, TypedDict

import msgspec
from sqlalchemy import Column, inspect
from sqlalchemy.orm import Mapper, make_transient_to_detached
from sqlalchemy.types import NullType

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.reader.types.mapped_column import ColumnReading, read_column
from rowcache_tasks.text import shorten


@dataclass(frozen=True, slots=True)
class Attribute:
    """One mapped column."""

    key: str
    reading: ColumnReading
    is_nullable: bool
    is_required: bool
    """The row has no identity without it."""


class MappedRow:
    """Makes detached, unmodified instances of one mapped class, as Session.merge(load=False) wants them.

    Columns that the JSON does not hold, and those of a type that cannot be read from it, stay unloaded, and so do
    relationships. Of a class with polymorphic subclasses, the row's own class is made.

    Raises ArgumentError for what is no mapped class, or when the class cannot be read from the rows of one table.
    """

    def __init__(self, wanted: Any) -> None:
        mapper = inspect(wanted, raiseerr=False)
        if not isinstance(mapper, Mapper):
            raise ArgumentError(f"type is {shorten(wanted)}, which SQLAlchemy does not map: give the mapped class")
        self._mapper: Mapper[Any] = mapper
        self._discriminator = discriminator_of(mapper)
        self._subclasses: dict[Any, MappedRow] = {}
        self._is_configured = mapper.configured
        self._load()

    def _load(self) -> None:
        self._attributes = read_attributes(self._mapper)
        fields = {}
        for name, attribute in self._attributes.items():
            annotation = attribute.reading.annotation
            fields[name] = annotation | None if attribute.is_nullable else annotation
            if attribute.is_required or name == self._discriminator:
                fields[name] = Required[fields[name]]
        typed_dict: Any = TypedDict
        self._decode = msgspec.json.Decoder(typed_dict(self._mapper.class_.__name__, fields, total=False)).decode

    def _configure(self) -> None:
        """Complete the mapping: late, when all classes that a relationship or a foreign key may name are there."""
        self._mapper.registry.configure()
        self._load()
        self._is_configured = True

    def columns(self) -> tuple[str, ...]:
        """Return the columns that are read, as the database names them."""
        return tuple(self._attributes)

    def decode(self, value: bytes | str) -> Any:
        """Return the instance. Raises msgspec.DecodeError when the value does not fit the mapping."""
        if not self._is_configured:
            self._configure()
        row = self._decode(value)
        converted = {name: self._convert(name, found) for name, found in row.items()}
        if self._discriminator is not None:
            mapper = self._mapper.polymorphic_map.get(converted[self._discriminator])
            if mapper is None or not mapper.isa(self._mapper):
                raise msgspec.ValidationError(
                    f"Expected the identity of a `{self._mapper.class_.__name__}` - at `$.{self._discriminator}`"
                )
            if mapper is not self._mapper:
                return self._subclass(mapper).decode(value)
        return self._make(converted)

    def _subclass(self, mapper: Mapper[Any]) -> "MappedRow":
        found = self._subclasses.get(mapper)
        if found is None:
            found = self._subclasses[mapper] = MappedRow(mapper.class_)
        return found

    def _convert(self, name: str, value: Any) -> Any:
        reading = self._attributes[name].reading
        if reading.convert is None or (value is None and not reading.converts_null):
            return value
        try:
            return reading.convert(value)
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(f"{str(error).partition(' - at')[0]} - at `$.{name}`") from error
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:  # of the application's own types
            raise msgspec.ValidationError(f"{type(error).__name__} in the column's type - at `$.{name}`") from error

    def _make(self, row: dict[str, Any]) -> Any:
        instance = self._mapper.class_manager.new_instance()
        attributes = self._attributes
        # What is in the dictionary of an instance counts as loaded once it is detached; set_committed_value, which
        # takes three times as long for a row, would do the same one by one.
        instance.__dict__.update({attributes[name].key: value for name, value in row.items()})
        make_transient_to_detached(instance)
        return instance


def read_attributes(mapper: Mapper[Any]) -> dict[str, Attribute]:
    """Return column name -> attribute, for what can be read from JSON."""
    identity = {mapper.get_property_by_column(column).key for column in mapper.primary_key}
    attributes: dict[str, Attribute] = {}
    for key, column in mapper.columns.items():
        if not isinstance(column, Column):
            continue  # an SQL expression, which no row holds
        name = "".join(column.name)
        reading = read_column(column.type)
        if name in attributes and attributes[name].key != key:
            raise ArgumentError(
                f"type {mapper.class_.__name__} maps two columns {name!r}, as {attributes[name].key} and {key}: "
                "a cached row has one; give a class of one table"
            )
        if reading is not None:
            attributes[name] = Attribute(key, reading, bool(column.nullable), key in identity)
        elif key in identity and not isinstance(column.type, NullType):  # a foreign key, until it finds its table
            raise ArgumentError(
                f"type {mapper.class_.__name__}: {key} is part of its primary key, and {column.type!r} "
                "cannot be read from JSON"
            )
    return attributes


def discriminator_of(mapper: Mapper[Any]) -> str | None:
    """Name the column that says of which class a row is; None when there is only one."""
    if mapper.polymorphic_on is None:
        return None
    if isinstance(mapper.polymorphic_on, Column):
        return "".join(mapper.polymorphic_on.name)
    raise ArgumentError(f"type {mapper.class_.__name__}: its class is chosen by an SQL expression, not by a column")
