"""Portable dialect; base of the others."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, ColumnElement, Connection, Engine, Select, TableClause
from sqlalchemy.engine.default import DefaultDialect

from rowcache_tasks.database.encoding import Converter, plain
from rowcache_tasks.database.key_type import KeyType, integer_key, text_key

AUTOCOMMIT: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"}
"""Arguments for create_engine: one statement is one transaction, with no round trip before or after it."""
if "skip_autocommit_rollback" in signature(DefaultDialect).parameters:  # since SQLAlchemy 2.0.43
    AUTOCOMMIT["skip_autocommit_rollback"] = True

SelectByKeys = Callable[[Connection, Collection[Any]], Sequence[Any]]
"""Prepared SELECT: returns the rows with some keys, as the driver's tuples."""

INT64 = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column as it is read."""

    name: str
    type_name: str  # in the database's words, for messages
    expression: ColumnElement[Any]  # SQL to select, such that the driver loses nothing
    convert: Converter | None = None
    key_type: KeyType | None = None  # None: not allowed in a key
    key_cast: str = ""  # SQL type that key values are cast to; empty: none is needed


class Dialect:
    """Defaults that hold for every database."""

    session_id = ""  # SELECT of the number of the server's session; empty: no pooler shares sessions
    clock = ""  # SELECT of the server's time in Unix seconds; empty: it cannot be asked
    position = ""  # SELECT of whether the server is a replica, and of its position in the log; empty: unknown
    lag = ""  # SELECT of how far a replica is behind, in seconds; empty: it cannot be asked
    is_located = False  # whether SELECTs of `prepare` put their ReadPosition into the `info` of the connection
    tomorrow = ""  # SQL of the time in a day, in UTC; empty: it cannot be asked

    def engine_arguments(self, url: URL, statement_timeout_s: float, setting: str) -> tuple[URL, dict[str, Any]]:
        """Return the URL and the arguments for create_engine. Raises ConfigError, which names `setting`."""
        return url, {}

    def connect(self, arguments: Sequence[Any], keywords: Mapping[str, Any], statement_timeout_s: float) -> Any:
        """Open the driver's connection with bounded waits; None: SQLAlchemy opens it."""
        return None

    def set_up_session(self, dbapi_connection: Any, statement_timeout_s: float) -> None:
        """Set up a new connection: read-only, UTC, ISO forms, bounded statements, as far as no pooler shares it."""

    def is_replica(self, dbapi_connection: Any) -> bool:
        """Whether the connection leads to a replica, whose rows may be old. What cannot be found out is False."""
        return False

    @contextmanager
    def transaction(self, engine: Engine) -> Iterator[Connection]:
        """Open a connection for statements that are not prepared by `prepare`."""
        with engine.connect() as connection:
            yield connection

    def set_up_stream(self, connection: Connection) -> None:
        """Set up a connection for a long scan."""

    def columns(self, connection: Connection, relation: TableClause) -> list[SourceColumn]:
        """Read the columns of a table from the catalog, in order; none when there is no such table."""
        inspector = sa.inspect(connection)
        if not inspector.has_table(relation.name, relation.schema):
            return []
        found = []
        for entry in inspector.get_columns(relation.name, relation.schema):
            name, kind = str(entry["name"]), entry["type"]
            text = text_key() if isinstance(kind, sa.String) else None
            key = integer_key(*INT64) if isinstance(kind, sa.Integer) else text
            found.append(SourceColumn(name, str(kind), sa.column(name), plain, key))
        return found

    def primary_key(self, connection: Connection, relation: TableClause) -> Sequence[str]:
        """Return the columns of the primary key in its order; empty when there is none."""
        return sa.inspect(connection).get_pk_constraint(relation.name, relation.schema)["constrained_columns"]

    def relation_names(self, connection: Connection, schema: str | None) -> list[str]:
        """List the tables and views of a schema."""
        inspector = sa.inspect(connection)
        return [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]

    def match(self, key: Sequence[SourceColumn]) -> ColumnElement[bool]:
        """Build the condition "the key is one of the parameters"."""
        columns: list[ColumnElement[Any]] = [sa.column(part.name) for part in key]
        values: sa.BindParameter[Any] = sa.bindparam("row_keys", expanding=True)
        return columns[0].in_(values) if len(columns) == 1 else sa.tuple_(*columns).in_(values)

    def parameters(self, keys: Collection[Any]) -> dict[str, Any]:
        """Build the parameters of `match`. Keys of one column are bare values, of several tuples."""
        return {"row_keys": list(keys)}

    def bound(self, part: SourceColumn, name: str) -> ColumnElement[Any]:
        """Return a parameter that takes a value of a column as `part.expression` has returned it."""
        return sa.bindparam(name)

    def after(
        self, columns: Sequence[ColumnElement[Any]], values: Sequence[ColumnElement[Any]]
    ) -> Sequence[ColumnElement[bool]]:
        """Build conditions for the rows that come after some values in the order of the columns, nearest rows first.

        An index on the columns serves each of them, but not all joined by OR.
        """
        return [
            sa.and_(*(columns[i] == values[i] for i in range(n)), columns[n] > values[n])
            for n in reversed(range(len(columns)))
        ]

    def prepare(self, statement: Select[*tuple[Any, ...]], connection: Connection) -> SelectByKeys:
        """Prepare a SELECT with the condition `match`. `connection` is any one to the database."""

        def select_by_keys(connection: Connection, keys: Collection[Any]) -> Sequence[Any]:
            result = connection.execute(statement, self.parameters(keys))
            # The driver's tuples, because SQLAlchemy's rows cost as much as the encoding.
            rows: Sequence[Any] = result.cursor.fetchall() if result.cursor else []
            result.close()
            return rows

        return select_by_keys

    def is_row_error(self, error: BaseException) -> bool:
        """Whether some rows cause the error (a division by zero in a view), and not the whole database."""
        return type(error).__name__ == "DataError"

    def is_catalog_error(self, error: BaseException) -> bool:
        """Whether a statement may not fit the catalog any more: a column, table or type is not there."""
        return type(error).__name__ in ("ProgrammingError", "DatabaseError")

    def message(self, error: BaseException) -> str:
        """Return the database's message."""
        return str(error.args[-1] if error.args else error)
