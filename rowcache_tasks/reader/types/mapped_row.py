"""Decoder of cached values to instances of a mapped class."""

from dataclasses import dataclass
from typing import Any, Required, TypedDict

import msgspec
from sqlalchemy import Column, inspect
from sqlalchemy.orm import Mapper, make_transient_to_detached
from sqlalchemy.types import NullType

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.reader.types.mapped_column import ColumnConversion, find_conversion


@dataclass(frozen=True, slots=True)
class Attribute:
    """One mapped column."""

    key: str
    conversion: ColumnConversion
    is_nullable: bool
    is_required: bool  # part of the primary key


class MappedRow:
    """Makes detached, unmodified instances of one mapped class, as Session.merge(load=False) wants them.

    Columns that are not in the JSON, or of a type that cannot be read from it, stay unloaded; so do relationships. A
    row of a polymorphic class becomes an instance of its own subclass.

    Raises ArgumentError for a class that is not mapped, or that the rows of one table do not suffice for.
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
            annotation = attribute.conversion.annotation
            fields[name] = annotation | None if attribute.is_nullable else annotation
            if attribute.is_required or name == self._discriminator:
                fields[name] = Required[fields[name]]
        typed_dict: Any = TypedDict
        self._decode = msgspec.json.Decoder(typed_dict(self._mapper.class_.__name__, fields, total=False)).decode

    def _configure(self) -> None:
        """Complete the mapping: late, when all classes that a relationship or a foreign key may name are defined."""
        self._mapper.registry.configure()
        self._load()
        self._is_configured = True

    def columns(self) -> tuple[str, ...]:
        """Return the names in the database of the columns that are read."""
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
        conversion = self._attributes[name].conversion
        if conversion.convert is None or (value is None and not conversion.converts_null):
            return value
        try:
            return conversion.convert(value)
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(f"{str(error).partition(' - at')[0]} - at `$.{name}`") from error
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:  # of the application's own types
            raise msgspec.ValidationError(f"{type(error).__name__} in the column's type - at `$.{name}`") from error

    def _make(self, row: dict[str, Any]) -> Any:
        instance = self._mapper.class_manager.new_instance()
        attributes = self._attributes
        # The dictionary of a detached instance counts as loaded; set_committed_value would take three times as long.
        instance.__dict__.update({attributes[name].key: value for name, value in row.items()})
        make_transient_to_detached(instance)
        return instance


def read_attributes(mapper: Mapper[Any]) -> dict[str, Attribute]:
    """Return column name -> attribute, for the columns that can be read from JSON."""
    identity = {mapper.get_property_by_column(column).key for column in mapper.primary_key}
    attributes: dict[str, Attribute] = {}
    for key, column in mapper.columns.items():
        if not isinstance(column, Column):
            continue  # an SQL expression, which is in no row
        name = "".join(column.name)
        conversion = find_conversion(column.type)
        if name in attributes and attributes[name].key != key:
            raise ArgumentError(
                f"type {mapper.class_.__name__} maps two columns {name!r}, as {attributes[name].key} and {key}: "
                "a cached row has one; give a class of one table"
            )
        if conversion is not None:
            attributes[name] = Attribute(key, conversion, bool(column.nullable), key in identity)
        elif key in identity and not isinstance(column.type, NullType):  # a foreign key, until it finds its table
            raise ArgumentError(
                f"type {mapper.class_.__name__}: {key} is part of its primary key, and {column.type!r} "
                "cannot be read from JSON"
            )
    return attributes


def discriminator_of(mapper: Mapper[Any]) -> str | None:
    """Return the name of the column that selects the class of a row; None when there is one class."""
    if mapper.polymorphic_on is None:
        return None
    if isinstance(mapper.polymorphic_on, Column):
        return "".join(mapper.polymorphic_on.name)
    raise ArgumentError(f"type {mapper.class_.__name__}: its class is chosen by an SQL expression, not by a column")
