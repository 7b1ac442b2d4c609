"""Dialect of PostgreSQL, read through psycopg.

Most types arrive as PostgreSQL's text, which is exact where Python's types are not (months of an interval, infinite
timestamps, digits of a numeric); a converter turns it into JSON.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, ColumnElement, Connection, Select, TableClause
from sqlalchemy.exc import DBAPIError

from rowcache_tasks.database.dialects.dialect import AUTOCOMMIT, Dialect, SelectByKeys, SourceColumn
from rowcache_tasks.database.dialects.postgresql.text import CONVERTERS, ELEMENTS, KEY_TYPES, NATIVE, TEXT_KEY
from rowcache_tasks.database.encoding import each
from rowcache_tasks.errors import ConfigError

SESSION = """
SELECT set_config('default_transaction_read_only', 'on', false),
       set_config('statement_timeout', %s, false),
       set_config('client_encoding', 'UTF8', false),
       set_config('TimeZone', 'UTC', false),
       set_config('DateStyle', 'ISO, MDY', false),
       set_config('IntervalStyle', 'iso_8601', false),
       set_config('extra_float_digits', '3', false)
"""

# Domains resolve to the type below them, arrays to their element: "resolved" ends at a type that is neither.
CATALOG = sa.text("""
WITH RECURSIVE resolved AS (
    SELECT attnum, attname, atttypid AS oid, 0 AS arrays
    FROM pg_catalog.pg_attribute
    WHERE attrelid = pg_catalog.to_regclass(:relation) AND attnum > 0 AND NOT attisdropped
  UNION ALL
    SELECT attnum, attname,
           CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE element.oid END,
           CASE t.typtype WHEN 'd' THEN arrays ELSE arrays + 1 END
    FROM resolved
    JOIN pg_catalog.pg_type t ON t.oid = resolved.oid
    LEFT JOIN pg_catalog.pg_type element ON element.typarray = t.oid
    WHERE t.typtype = 'd' OR element.oid IS NOT NULL
)
SELECT attname, t.typname, pg_catalog.format_type(t.oid, NULL), t.typtype, arrays,
       t.typnamespace = 'pg_catalog'::regnamespace
FROM resolved JOIN pg_catalog.pg_type t ON t.oid = resolved.oid
WHERE t.typtype <> 'd' AND NOT EXISTS (SELECT FROM pg_catalog.pg_type element WHERE element.typarray = t.oid)
ORDER BY attnum
""")

# Errors of SQLSTATE classes that a single row can cause: cardinality, data, integrity, functions, corruption.
ROW_ERROR_CLASSES = {"21", "22", "23", "38", "39", "P0", "XX"}

ANSWER_SLACK_S = 2.0
"""Wait beyond the statement time-out, at which the server itself ends the statement."""


class PostgreSQL(Dialect):
    """PostgreSQL, and servers with its protocol and catalog."""

    # A server-side cursor lives in a transaction.
    stream_options: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ"}
    session_id = "SELECT pg_backend_pid()"

    def engine_arguments(self, url: URL, statement_timeout_s: float) -> tuple[URL, dict[str, Any]]:
        """Require psycopg; detect a dead network within seconds unless the URL has other options."""
        if url.get_driver_name() != "psycopg":
            raise ConfigError(
                f"rowcache_database_url asks for the driver {url.get_driver_name()!r}: "
                "PostgreSQL is read with psycopg, write postgresql+psycopg://…"
            )
        defaults = {
            "connect_timeout": "5",
            "keepalives_idle": "30",
            "keepalives_interval": "5",
            "keepalives_count": "3",
            "fallback_application_name": "rowcache_tasks",
        }
        missing = {name: value for name, value in defaults.items() if name not in url.query}
        return url, {"connect_args": missing, "use_native_hstore": False, **AUTOCOMMIT}

    def connect(self, arguments: Sequence[Any], keywords: Mapping[str, Any], statement_timeout_s: float) -> Any:
        """Open a connection that closes when the server is silent for longer than a statement may run."""
        # Late, because psycopg is an optional extra.
        from rowcache_tasks.database.dialects.postgresql.connection import BoundedConnection  # noqa: PLC0415

        connection = BoundedConnection.connect(*arguments, **keywords)
        connection.silence_limit_s = statement_timeout_s + ANSWER_SLACK_S
        return connection

    def set_up_session(self, dbapi_connection: Any, statement_timeout_s: float) -> None:
        """Set the session up in one round trip; read all but the NATIVE types as text."""
        from psycopg.types.string import TextLoader  # noqa: PLC0415 - psycopg is an optional extra

        dbapi_connection.execute(SESSION, [str(max(1, round(statement_timeout_s * 1000)))])
        for info in list(dbapi_connection.adapters.types):
            if info.name not in NATIVE:
                dbapi_connection.adapters.register_loader(info.oid, TextLoader)

    def is_replica(self, dbapi_connection: Any) -> bool:
        """Ask whether the server replays the log of another one; not all servers with this protocol have the function.

        The parameter in_hot_standby would be free, but a pooler may have an old one.
        """
        try:
            return bool(dbapi_connection.execute("SELECT pg_is_in_recovery()").fetchone()[0])
        except Exception as error:
            if getattr(error, "sqlstate", None) is None:
                raise
            return False

    def columns(self, connection: Connection, relation: TableClause) -> list[SourceColumn]:
        """Read the catalog: SQLAlchemy's reflection has no types of extensions."""
        quoted = connection.dialect.identifier_preparer.format_table(relation)
        return [_describe(*row) for row in connection.execute(CATALOG, {"relation": quoted})]

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

    def prepare(self, statement: Select[*tuple[Any, ...]], connection: Connection) -> SelectByKeys:
        """Compile the statement once."""
        return partial(self._select, str(statement.compile(dialect=connection.dialect)))

    def _select(self, sql: str, connection: Connection, keys: Collection[Any]) -> Sequence[Any]:
        """Select with psycopg's cursor: SQLAlchemy's statement and result cost as much as reading 20 rows.

        Raises DBAPIError when the connection cannot be used any more, else the driver's own error.
        """
        driver_connection: Any = connection.connection.driver_connection
        try:
            with driver_connection.cursor() as cursor:
                rows: Sequence[Any] = cursor.execute(sql, self.parameters(keys)).fetchall()
                return rows
        except connection.dialect.loaded_dbapi.Error as error:
            if driver_connection.closed or self.is_outdated(error):
                driver_connection.close()
                with suppress(DBAPIError):  # SQLAlchemy finds it closed, and replaces every pooled one that is as old
                    connection.exec_driver_sql("SELECT 1")
                raise DBAPIError(sql, None, error, hide_parameters=True, connection_invalidated=True) from error
            raise
        except BaseException:
            if driver_connection.info.transaction_status:  # not idle: the wait for the answer was interrupted
                connection.invalidate()
            raise

    def is_row_error(self, error: BaseException) -> bool:
        """Go by SQLSTATE; an error without one is psycopg's, for a value that it cannot load."""
        state = getattr(error, "sqlstate", None)
        return state[:2] in ROW_ERROR_CLASSES if state else type(error).__name__ == "DataError"

    def is_outdated(self, error: BaseException) -> bool:
        """Whether an ALTER TABLE has made a prepared statement useless (cached plan must not change …)."""
        return getattr(error, "sqlstate", None) == "0A000"

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


def _cast(expression: ColumnElement[Any], sql_type: str) -> ColumnElement[Any]:
    return expression.op("::")(sa.literal_column(sql_type))


def _array(values: Collection[object]) -> str:
    """Write a one-dimensional array in PostgreSQL's text form, every element quoted."""
    texts = list(map(str, values))
    joined = "".join(texts)
    if texts and '"' not in joined and "\\" not in joined:
        return '{"' + '","'.join(texts) + '"}'
    return "{" + ",".join(['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]) + "}"
