"""Own what every database has in common; a database that SQLAlchemy knows and we do not is served by this alone."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    URL,
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    TableClause,
    bindparam,
    column,
    inspect,
    tuple_,
    types,
)

from rowcache_tasks.database import keys as key_type
from rowcache_tasks.database.encoding import Converter, plain
from rowcache_tasks.database.keys import KeyType

AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
"""Arguments for create_engine: one statement is one transaction, with no round trip before or after it."""

Reader = Callable[[Connection, Collection[Any]], Sequence[Any]]
"""Gives the rows with some keys, as the driver's tuples."""

INT64 = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """One column as it is read."""

    name: str
    type_name: str
    """As the database calls it, for messages."""
    expression: ColumnElement[Any]
    """What to select so that the driver loses nothing."""
    convert: Converter | None = None
    key_type: KeyType | None = None
    """None: cannot be part of a key."""
    key_cast: str = ""
    """The SQL type that key values are cast to, where the database needs it said."""


class Dialect:
    """The portable way. Subclasses know one database better."""

    stream_options: Mapping[str, Any] = MappingProxyType({})
    """Execution options of the connection that scans a table."""

    def engine_arguments(self, url: URL, statement_timeout_s: float) -> tuple[URL, dict[str, Any]]:
        """Return the URL and the keyword arguments for create_engine. Raises ConfigError for a wrong driver."""
        return url, {}

    def connect(self, arguments: Sequence[Any], keywords: Mapping[str, Any], statement_timeout_s: float) -> Any:
        """Make the driver's connection, never one that waits for ever; None: the driver's own way is good enough."""
        return None

    def set_up_session(self, dbapi_connection: Any, statement_timeout_s: float) -> None:
        """Prepare a new connection: read-only, UTC, ISO forms, bounded statements. Sent once a connection."""

    def set_up_stream(self, connection: Connection) -> None:
        """Prepare a connection for a long scan, after which it is closed."""

    def column_types(self, connection: Connection, relation: TableClause) -> Mapping[str, Any]:
        """Return the columns in their order, each with what `describe` needs; nothing when there is no such table."""
        inspector = inspect(connection)
        if not inspector.has_table(relation.name, relation.schema):
            return {}
        found = inspector.get_columns(relation.name, relation.schema)
        return {name_of(column): column["type"] for column in found}

    def describe(self, name: str, catalog_type: Any) -> SourceColumn:
        """Say how a column is read, from its entry in `column_types`."""
        key = None
        if isinstance(catalog_type, types.Integer):
            key = key_type.integer(*INT64)
        elif isinstance(catalog_type, types.String):
            key = key_type.text()
        return SourceColumn(name, str(catalog_type), column(name), plain, key)

    def primary_key(self, connection: Connection, relation: TableClause) -> Sequence[str]:
        """Return the primary key's columns in its order; nothing when there is none."""
        return inspect(connection).get_pk_constraint(relation.name, relation.schema)["constrained_columns"]

    def relation_names(self, connection: Connection, schema: str | None) -> list[str]:
        """List the tables and views of a schema."""
        inspector = inspect(connection)
        return [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]

    def match(self, key: Sequence[SourceColumn]) -> ColumnElement[bool]:
        """Write the condition "the key is one of the parameters"."""
        columns: list[ColumnElement[Any]] = [column(part.name) for part in key]
        values: BindParameter[Any] = bindparam("row_keys", expanding=True)
        return columns[0].in_(values) if len(columns) == 1 else tuple_(*columns).in_(values)

    def parameters(self, keys: Collection[Any]) -> dict[str, Any]:
        """Give the parameters of `match` for these keys: bare values of one column, tuples of several."""
        return {"row_keys": list(keys)}

    def reader(self, statement: Select[*tuple[Any, ...]], connection: Connection) -> Reader:
        """Prepare a SELECT whose condition is `match`, once a table. `connection` is any one to the database."""

        def read(connection: Connection, keys: Collection[Any]) -> Sequence[Any]:
            result = connection.execute(statement, self.parameters(keys))
            # The driver's tuples: SQLAlchemy's rows would cost as much as the encoding.
            rows: Sequence[Any] = result.cursor.fetchall() if result.cursor else []
            result.close()
            return rows

        return read

    def is_row_error(self, error: BaseException) -> bool:
        """Tell an error that some rows cause (a division by zero in a view) from one of the whole database."""
        return type(error).__name__ == "DataError"

    def is_outdated(self, error: BaseException) -> bool:
        """Tell an error that a fresh connection would not have."""
        return False

    def message(self, error: BaseException) -> str:
        """Return the database's own words."""
        return str(error.args[-1] if error.args else error)


def name_of(found: Mapping[str, Any]) -> str:
    """Return a reflected column's name as a plain str."""
    return str(found["name"])
