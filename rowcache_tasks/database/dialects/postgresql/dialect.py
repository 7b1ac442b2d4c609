"""Dialect of PostgreSQL, read through psycopg.

Most types arrive as PostgreSQL's text, which is exact where Python's types are not (months of an interval, infinite
timestamps, digits of a numeric); a converter turns it into JSON.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, ColumnElement, Connection, Engine, Select, TableClause

from rowcache_tasks.database.dialects.dialect import AUTOCOMMIT, Dialect, SelectByKeys, SourceColumn
from rowcache_tasks.database.dialects.postgresql.text import CONVERTERS, ELEMENTS, KEY_TYPES, NATIVE, TEXT_KEY
from rowcache_tasks.database.encoding import each
from rowcache_tasks.database.statement import statement
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import shorten

# Errors of SQLSTATE classes that a single row can cause: cardinality, data, integrity, functions, corruption.
ROW_ERROR_CLASSES = {"21", "22", "23", "38", "39", "P0", "XX"}


class PostgreSQL(Dialect):
    """PostgreSQL, and servers with its protocol and catalog."""

    session_id = "SELECT pg_backend_pid()"
    clock = "SELECT extract(epoch FROM clock_timestamp())::float8"
    position = """
SELECT pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text
"""
    lag = """
SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver)
       THEN 0 WHEN pg_last_xact_replay_timestamp() IS NOT NULL  -- of which greatest() would make 0
       THEN greatest(0, extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()))::float8 END
"""
    tomorrow = "now() + interval '1 day'"

    def engine_arguments(self, url: URL, statement_timeout_s: float, setting: str) -> tuple[URL, dict[str, Any]]:
        """Require psycopg, also for postgresql://; detect a dead network within seconds unless the URL says otherwise.

        No statement is prepared unless the URL asks: a pooler may run the next one in another session.
        """
        if url.drivername == "postgresql":  # psycopg2 in SQLAlchemy 2.0
            url = url.set(drivername="postgresql+psycopg")
        if url.get_driver_name() != "psycopg":
            raise ConfigError(
                f"{setting} asks for the driver {url.get_driver_name()!r}: "
                "PostgreSQL is read with psycopg, write postgresql+psycopg://…"
            )
        defaults = {
            "connect_timeout": "5",
            "keepalives_idle": "30",
            "keepalives_interval": "5",
            "keepalives_count": "3",
            "fallback_application_name": "rowcache_tasks",
        }
        given: dict[str, Any] = {name: value for name, value in defaults.items() if name not in url.query}
        given |= {"client_encoding": "UTF8", "prepare_threshold": _prepare_threshold(url, setting)}
        url = url.difference_update_query(["client_encoding", "prepare_threshold"])
        return url, {"connect_args": given, "use_native_hstore": False, **AUTOCOMMIT}

    def connect(self, arguments: Sequence[Any], keywords: Mapping[str, Any], statement_timeout_s: float) -> Any:
        """Open a connection that closes when the server is silent for longer than a statement may run."""
        from rowcache_tasks.database.dialects.postgresql.connection import BoundedConnection  # noqa: PLC0415 an extra

        connection = BoundedConnection.connect(*arguments, **keywords)
        connection.statement_timeout_s = statement_timeout_s
        return connection

    def set_up_session(self, dbapi_connection: Any, statement_timeout_s: float) -> None:
        """Read all but the NATIVE types as text. The session itself keeps no settings: each transaction has its own."""
        from psycopg.types.string import TextLoader  # noqa: PLC0415 an extra

        for info in list(dbapi_connection.adapters.types):
            if info.name not in NATIVE:
                dbapi_connection.adapters.register_loader(info.oid, TextLoader)

    @contextmanager
    def transaction(self, engine: Engine) -> Iterator[Connection]:
        """Open a transaction: a server-side cursor lives in one, and so do the settings."""
        with engine.connect() as connection:
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            connection.exec_driver_sql(connection.connection.driver_connection.settings)  # type: ignore[union-attr]
            yield connection

    def is_replica(self, dbapi_connection: Any) -> bool:
        """Ask whether the server replays another's log. Not all can say; a pooler's parameter may be old."""
        try:
            return bool(dbapi_connection.execute("SELECT pg_is_in_recovery()").fetchone()[0])
        except Exception as error:
            if getattr(error, "sqlstate", None) is None:
                raise
            return False

    def columns(self, connection: Connection, relation: TableClause) -> list[SourceColumn]:
        """Read the catalog: SQLAlchemy's reflection has no types of extensions."""
        # Quoted for a statement with parameters, in which a % is doubled; here it is a parameter itself.
        quoted = connection.dialect.identifier_preparer.format_table(relation).replace("%%", "%")
        return [_describe(*row) for row in connection.execute(statement("postgresql_columns"), {"relation": quoted})]

    def relation_names(self, connection: Connection, schema: str | None) -> list[str]:
        """Add the materialized views."""
        inspector = sa.inspect(connection)
        return [*super().relation_names(connection, schema), *inspector.get_materialized_view_names(schema)]

    def match(self, key: Sequence[SourceColumn]) -> ColumnElement[bool]:
        """Match with one array parameter a column, so that the text does not depend on the number of keys."""
        arrays = [_cast(sa.bindparam(f"row_keys_{i}"), f"{part.key_cast}[]") for i, part in enumerate(key)]
        columns: list[ColumnElement[Any]] = [sa.column(part.name) for part in key]
        if len(key) == 1:
            return columns[0] == sa.any_(arrays[0])
        wanted = sa.func.unnest(*arrays).table_valued(*(f"part_{i}" for i in range(len(key)))).render_derived()
        return sa.tuple_(*columns).in_(sa.select(wanted))

    def parameters(self, keys: Collection[Any]) -> dict[str, Any]:
        """Write the arrays as text: psycopg's dumper of lists takes ten times as long."""
        parts = zip(*keys, strict=True) if isinstance(next(iter(keys)), tuple) else [keys]
        return {f"row_keys_{i}": _array(part) for i, part in enumerate(parts)}

    def bound(self, part: SourceColumn, name: str) -> ColumnElement[Any]:
        """Cast the text of a value to the exact type."""
        return _cast(sa.bindparam(name), part.key_cast) if part.key_cast else sa.bindparam(name)

    def after(
        self, columns: Sequence[ColumnElement[Any]], values: Sequence[ColumnElement[Any]]
    ) -> Sequence[ColumnElement[bool]]:
        """Compare the columns as one value, for which an index on them is used."""
        return [sa.tuple_(*columns) > sa.tuple_(*values)]

    def prepare(self, statement: Select[*tuple[Any, ...]], connection: Connection) -> SelectByKeys:
        """Compile the statement once."""
        from rowcache_tasks.database.dialects.postgresql.connection import BatchSelect  # noqa: PLC0415 an extra

        return BatchSelect(self, str(statement.compile(dialect=connection.dialect)))

    def is_row_error(self, error: BaseException) -> bool:
        """Go by SQLSTATE; an error without one is psycopg's, for a value that it cannot load."""
        state = getattr(error, "sqlstate", None)
        return state[:2] in ROW_ERROR_CLASSES if state else type(error).__name__ == "DataError"

    def is_catalog_error(self, error: BaseException) -> bool:
        """Go by SQLSTATE: unknown names, operators and types (class 42 without the missing right), unknown schema."""
        state = getattr(error, "sqlstate", None) or ""
        return (state[:2] == "42" and state != "42501") or state == "3F000"

    def message(self, error: Any) -> str:
        """Return the primary message, without the detail or the text of a RAISE, which may hold values."""
        state = getattr(error, "sqlstate", None)
        if not state:
            return super().message(error)
        words = error.diag.message_primary or ""
        return f"{'an exception was raised' if state == 'P0001' else words} (SQLSTATE {state})"


def _describe(name: str, internal: str, formatted: str, kind: str, arrays: int, builtin: bool) -> SourceColumn:
    """Choose how a column is read by the internal name of its type."""
    known = internal if builtin else ""
    exact = f'pg_catalog."{internal}"' if builtin else formatted
    if not arrays:
        key = KEY_TYPES.get(known) or (TEXT_KEY if kind == "e" or internal == "citext" else None)
        return SourceColumn(name, formatted, sa.column(name), CONVERTERS.get(known), key, exact)
    element = known if arrays == 1 and known in ELEMENTS else "text"
    convert = CONVERTERS.get(element)
    # The cast also turns arrays of a domain into arrays that psycopg can load.
    expression = _cast(sa.column(name), f'pg_catalog."{element}"[]')
    return SourceColumn(name, f"{formatted}[]", expression, each(convert) if convert else None)


def _prepare_threshold(url: URL, setting: str) -> int | None:
    """Return after how many runs psycopg prepares a statement; None: never."""
    given = url.query.get("prepare_threshold")
    if given is None:
        return None
    if not (isinstance(given, str) and given.isdecimal() and given.isascii()):
        raise ConfigError(
            f"{setting} has prepare_threshold {shorten(given)}: allowed is a whole number, 0 or more; "
            "without it no statement is prepared, as poolers need it"
        )
    return int(given)


def _cast(expression: ColumnElement[Any], sql_type: str) -> ColumnElement[Any]:
    return expression.op("::")(sa.literal_column(sql_type))


def _array(values: Collection[object]) -> str:
    """Write a one-dimensional array in PostgreSQL's text form, every element quoted."""
    texts = [f"\\x{value.hex()}" if isinstance(value, bytes) else str(value) for value in values]
    joined = "".join(texts)
    if texts and '"' not in joined and "\\" not in joined:
        return '{"' + '","'.join(texts) + '"}'
    return "{" + ",".join(['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]) + "}"
