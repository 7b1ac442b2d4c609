"""Columns, key and statements of a table, from its catalog entry."""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, TableClause, column, select, table

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.dialects import Dialect, SelectByKeys, SourceColumn
from rowcache_tasks.database.encoding import RowEncoder
from rowcache_tasks.database.key_type import KeyType
from rowcache_tasks.database.keys import RowKey
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import suggest

WORD = r'"(?:[^"]|"")+"|`(?:[^`]|``)+`|[^."`]+'
QUOTED_NAME = re.compile(rf"((?P<schema>{WORD})\.)?(?P<name>{WORD})")

MAX_MESSAGE = 400  # characters of an error that lists columns or tables


@dataclass(frozen=True, slots=True)
class Versions:
    """Versions of the rows of a table: the first member of each JSON object."""

    select: SelectByKeys  # the version, then the key columns
    key_of: Callable[[Sequence[Any]], Any]
    encoder: RowEncoder
    shape: str  # digest of the columns of the JSON and of their types


@dataclass(frozen=True, slots=True)
class SourceTable:
    """Statements of one table. Rows hold the columns of the JSON, then the key columns that are not among them."""

    relation: TableClause
    columns: Mapping[str, SourceColumn]  # all columns of the relation
    key: tuple[str, ...]  # names of the key columns
    width: int  # number of values that go into the JSON
    has_hidden_key: bool  # whether rows hold key columns after them
    row_key: RowKey
    key_of: Callable[[Sequence[Any]], Any]  # row -> key, as `row_key.parse` returns it
    encoder: RowEncoder
    select_rows: SelectByKeys
    select_keys: SelectByKeys  # the key columns alone
    versions: "Versions | None"  # None: every row is read in full
    all_keys: Select[*tuple[Any, ...]]  # SELECT of the key columns of all rows, none of them NULL


def load_table(settings: Table, dialect: Dialect, connection: Connection) -> SourceTable:
    """Read the catalog. Raises ConfigError, one line, when the settings do not fit it."""
    relation, columns = _find(settings, dialect, connection)
    key_names = settings.key or tuple(dialect.primary_key(connection, relation))
    if not key_names:
        raise ConfigError(
            f"{settings.setting}: {settings.table!r} has no primary key: name the columns that identify a row, "
            f'"key": one or more of {", ".join(columns)}'[:MAX_MESSAGE]
        )
    names = settings.columns or tuple(columns)
    _check_names(settings, "key", key_names, columns)
    _check_names(settings, "columns", names, columns)
    if settings.version:
        names = _version_first(settings, names, columns)
    read_names = list(dict.fromkeys((*names, *key_names)))
    read = [columns[name] for name in read_names]
    key = [columns[name] for name in key_names]
    row_key = RowKey([_key_type_of(settings, part, columns) for part in key])

    def statement(parts: Sequence[SourceColumn]) -> Select[*tuple[Any, ...]]:
        return select(*(part.expression for part in parts)).select_from(relation)

    versions = None
    if settings.version and len(names) > 1:
        version = columns[names[0]]
        shape = repr((settings.database, relation.schema, relation.name, [(n, columns[n].type_name) for n in names]))
        versions = Versions(
            select=dialect.prepare(statement([version, *key]).where(dialect.match(key)), connection),
            key_of=row_key.getter(range(1, len(key) + 1)),
            encoder=RowEncoder({version.name: version.convert}),
            shape=hashlib.sha256(shape.encode()).hexdigest()[:16],
        )
    return SourceTable(
        relation=relation,
        columns=columns,
        key=tuple(key_names),
        width=len(names),
        has_hidden_key=len(names) < len(read_names),
        row_key=row_key,
        key_of=row_key.getter([read_names.index(name) for name in key_names]),
        encoder=RowEncoder({name: columns[name].convert for name in names}),
        select_rows=dialect.prepare(statement(read).where(dialect.match(key)), connection),
        select_keys=dialect.prepare(statement(key).where(dialect.match(key)), connection),
        versions=versions,
        all_keys=statement(key).where(*(column(name).is_not(None) for name in key_names)),
    )


def _find(settings: Table, dialect: Dialect, connection: Connection) -> tuple[TableClause, Mapping[str, SourceColumn]]:
    """Return the table and its columns: the first that is there of those that its name may mean."""
    places = _places(settings)
    for schema, name in places:
        relation = table(name, schema=schema or None)
        columns = {column.name: column for column in dialect.columns(connection, relation)}
        if columns:
            return relation, columns
    schema, name = places[0]
    names = dialect.relation_names(connection, schema or None)
    found = suggest(name, names) if names else ": there are no tables"
    where = f"{settings.setting}['table']"
    raise ConfigError(f"{where}: the database has no table or view {settings.table!r}{found}"[:MAX_MESSAGE])


def _places(settings: Table) -> list[tuple[str, str]]:
    """Return the schemas and names that a name may mean: split at its last dot, at another, at none, or in quotes."""
    if settings.schema:
        return [(settings.schema, settings.table)]
    words = settings.table.split(".")
    splits = [(".".join(words[:n]), ".".join(words[n:])) for n in range(len(words) - 1, 0, -1)]
    places = [*filter(all, splits), ("", settings.table)]
    if quoted := QUOTED_NAME.fullmatch(settings.table):
        places.append((_unquoted(quoted["schema"] or ""), _unquoted(quoted["name"])))
    return places


def _unquoted(word: str) -> str:
    mark = word[:1]
    return word[1:-1].replace(mark * 2, mark) if mark in {'"', "`"} else word


def _check_names(settings: Table, option: str, names: Sequence[str], columns: Collection[str]) -> None:
    for name in names:
        if name not in columns:
            raise ConfigError(
                f"{settings.setting}[{option!r}]: {settings.table!r} has no column {name!r}{suggest(name, columns)}"
            )


def _version_first(settings: Table, names: Sequence[str], columns: Collection[str]) -> tuple[str, ...]:
    """Return the columns of the JSON with the version before all others."""
    _check_names(settings, "version", [settings.version], columns)
    if settings.version not in names:
        raise ConfigError(
            f"{settings.setting}['columns'] lacks the version {settings.version!r}, which each value must have: add it"
        )
    return settings.version, *(name for name in names if name != settings.version)


def _key_type_of(settings: Table, part: SourceColumn, columns: Mapping[str, SourceColumn]) -> KeyType:
    if part.key_type is None:
        others = ", ".join(name for name, column in columns.items() if column.key_type) or "those of a view"
        raise ConfigError(
            f"{settings.setting}: the key has the column {part.name!r} of type {part.type_name}, which has no exact "
            f'text: name columns that identify a row, "key": one or more of {others}'[:MAX_MESSAGE]
        )
    return part.key_type
