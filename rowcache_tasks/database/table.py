"""Own what is read of one table: its columns, its key and the statement, from the settings and the catalog.

Must not know row ids, batches or Redis.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, TableClause, column, select, table

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.dialects import Dialect, Reader, SourceColumn
from rowcache_tasks.database.encoding import Column, RowEncoder
from rowcache_tasks.database.keys import KeyType, RowKey
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.text import suggest


@dataclass(frozen=True, slots=True)
class Selection:
    """A table as it is read. Rows hold the columns of the JSON, then the key columns that are not among them."""

    relation: TableClause
    width: int
    """How many values of a row go into the JSON."""
    row_key: RowKey
    key_of: Callable[[Sequence[Any]], Any]
    """Takes the key out of a row, as row_key.parse gives it."""
    encoder: RowEncoder
    by_key: Reader
    """Reads the rows with some keys."""
    keys: Select[*tuple[Any, ...]]
    """SELECT of every row's key columns, none of them NULL."""
    keys_by_key: Reader
    """Reads the key columns of the rows with some keys."""


def relation_of(settings: Table) -> TableClause:
    """Name the table: "inventory", or "app.users" within a schema."""
    schema, _, name = settings.table.rpartition(".")
    return table(name, schema=schema or None)


def select_table(settings: Table, dialect: Dialect, connection: Connection) -> Selection:
    """Look the table up. Raises ConfigError, one line, when the settings do not fit what is there."""
    relation = relation_of(settings)
    types = dialect.column_types(connection, relation)
    if not types:
        raise unknown_table(settings, dialect.relation_names(connection, relation.schema))
    key_names = settings.key or tuple(dialect.primary_key(connection, relation))
    if not key_names:
        raise ConfigError(
            f"{settings.setting}: {settings.table!r} has no primary key: name the columns that identify a row, "
            f'"key": one or more of {", ".join(types)}'[:400]
        )
    names = settings.columns or tuple(types)
    for option, given in (("key", key_names), ("columns", names)):
        for name in given:
            if name not in types:
                raise ConfigError(
                    f"{settings.setting}[{option!r}]: {settings.table!r} has no column {name!r}{suggest(name, types)}"
                )
    key = [dialect.describe(name, types[name]) for name in key_names]
    columns = [dialect.describe(name, types[name]) for name in names]
    read = columns + [part for part in key if part.name not in names]
    positions = {part.name: i for i, part in enumerate(read)}
    row_key = RowKey([key_type_of(settings, part) for part in key])

    def reader(parts: list[SourceColumn]) -> Reader:
        statement = select(*(part.expression for part in parts)).select_from(relation).where(dialect.match(key))
        return dialect.reader(statement, connection)

    return Selection(
        relation=relation,
        width=len(columns),
        row_key=row_key,
        key_of=row_key.reader([positions[name] for name in key_names]),
        encoder=RowEncoder([Column(part.name, part.convert) for part in columns]),
        by_key=reader(read),
        keys_by_key=reader(key),
        keys=select(*(part.expression for part in key))
        .select_from(relation)
        .where(*(column(name).is_not(None) for name in key_names)),
    )


def key_type_of(settings: Table, part: SourceColumn) -> KeyType:
    """Return the key type of a key column; raises ConfigError when it has none."""
    if part.key_type is None:
        raise ConfigError(
            f"{settings.setting}['key']: column {part.name!r} is {part.type_name}: allowed are whole numbers, "
            "decimals, text, UUID, date and enum columns"
        )
    return part.key_type


def unknown_table(settings: Table, names: list[str]) -> ConfigError:
    """Say which tables there are."""
    found = suggest(relation_of(settings).name, names) if names else ": there are no tables"
    where = f"{settings.setting}['table']"
    return ConfigError(f"{where}: the database has no table or view {settings.table!r}{found}"[:400])
