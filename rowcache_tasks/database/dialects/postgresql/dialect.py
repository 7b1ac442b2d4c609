"""Own what is particular to PostgreSQL, read through psycopg.

Most types arrive as PostgreSQL's own text, which is exact where Python's types lose something (months of an
interval, infinite timestamps, digits of a numeric); a converter then writes it the JSON way.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Select,
    TableClause,
    any_,
    bindparam,
    cast,
    column,
    func,
    select,
    text,
)
from sqlalchemy import tuple_ as row_of
from sqlalchemy.types import UserDefinedType

from rowcache_tasks.database.dialects.dialect import AUTOCOMMIT, Dialect, Reader, SourceColumn
from rowcache_tasks.database.dialects.postgresql.cursor import read_rows
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
CATALOG = text("""
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
"""The server ends a statement at its time-out; an answer that is so much later does not come."""


class SqlType(UserDefinedType[Any]):
    """A type by its SQL text, for casts."""

    cache_ok = True

    def __init__(self, sql: str) -> None:
        self.sql = sql

    def get_col_spec(self, **_kw: Any) -> str:
        """Return the SQL text."""
        return self.sql


class PostgreSQL(Dialect):
    """PostgreSQL and what speaks its protocol."""

    # A server-side cursor lives in a transaction.
    stream_options: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ"}

    def engine_arguments(self, url: URL, statement_timeout_s: float) -> tuple[URL, dict[str, Any]]:
        """Require psycopg; make a dead network show within seconds unless the URL says otherwise."""
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
        """Give a server up that is silent for longer than a statement may run."""
        # Late, because psycopg is an optional extra.
        from rowcache_tasks.database.dialects.postgresql.connection import PatientConnection  # noqa: PLC0415

        connection = PatientConnection.connect(*arguments, **keywords)
        connection.patience_s = statement_timeout_s + ANSWER_SLACK_S
        return connection

    def set_up_session(self, dbapi_connection: Any, statement_timeout_s: float) -> None:
        """One round trip. The settings last as long as the connection."""
        from psycopg.types.string import TextLoader  # noqa: PLC0415 - psycopg is an optional extra

        dbapi_connection.execute(SESSION, [str(max(1, round(statement_timeout_s * 1000)))])
        for info in list(dbapi_connection.adapters.types):
            if info.name not in NATIVE:
                dbapi_connection.adapters.register_loader(info.oid, TextLoader)

    def column_types(self, connection: Connection, relation: TableClause) -> Mapping[str, Any]:
        """Look the types up in the catalog: SQLAlchemy's reflection does not know those of extensions."""
        quoted = connection.dialect.identifier_preparer.format_table(relation)
        return {row[0]: tuple(row[1:]) for row in connection.execute(CATALOG, {"relation": quoted})}

    def describe(self, name: str, catalog_type: Any) -> SourceColumn:
        """Choose by the type's internal name."""
        internal, formatted, kind, arrays, builtin = catalog_type
        known = internal if builtin else ""
        exact = f'pg_catalog."{internal}"' if builtin else formatted
        if not arrays:
            key = KEY_TYPES.get(known) or (TEXT_KEY if kind == "e" or internal == "citext" else None)
            return SourceColumn(name, formatted, column(name), CONVERTERS.get(known), key, exact)
        element = known if arrays == 1 and known in ELEMENTS else "text"
        convert = CONVERTERS.get(element)
        # The cast also turns arrays of a domain into arrays that psycopg knows.
        expression = cast(column(name), SqlType(f'pg_catalog."{element}"[]'))
        return SourceColumn(name, f"{formatted}[]", expression, each(convert) if convert else None)

    def relation_names(self, connection: Connection, schema: str | None) -> list[str]:
        """Add the materialized views and partitioned tables."""
        found = "SELECT relname FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND "
        if schema is None:
            where = "pg_catalog.pg_table_is_visible(oid) AND relnamespace <> 'pg_catalog'::regnamespace"
            return list(connection.scalars(text(f"{found}{where} ORDER BY 1")))
        where = "relnamespace = pg_catalog.to_regnamespace(pg_catalog.quote_ident(:schema))"
        return list(connection.scalars(text(f"{found}{where} ORDER BY 1"), {"schema": schema}))

    def match(self, key: Sequence[SourceColumn]) -> ColumnElement[bool]:
        """One array parameter a column: the statement's text does not depend on the number of keys."""
        arrays = [cast(bindparam(f"row_keys_{i}"), SqlType(f"{part.key_cast}[]")) for i, part in enumerate(key)]
        columns: list[ColumnElement[Any]] = [column(part.name) for part in key]
        if len(key) == 1:
            return columns[0] == any_(arrays[0])
        wanted = func.unnest(*arrays).table_valued(*(f"part_{i}" for i in range(len(key)))).render_derived()
        return row_of(*columns).in_(select(wanted))

    def parameters(self, keys: Collection[Any]) -> dict[str, Any]:
        """Write the arrays as text: psycopg's dumper of lists takes ten times as long."""
        parts = zip(*keys, strict=True) if isinstance(next(iter(keys)), tuple) else [keys]
        return {f"row_keys_{i}": array_literal(part) for i, part in enumerate(parts)}

    def reader(self, statement: Select[*tuple[Any, ...]], connection: Connection) -> Reader:
        """Compile the statement once: its text does not depend on the keys."""
        sql = str(statement.compile(dialect=connection.dialect))

        def read(connection: Connection, keys: Collection[Any]) -> Sequence[Any]:
            return read_rows(connection, sql, self.parameters(keys), self.is_outdated)

        return read

    def is_row_error(self, error: BaseException) -> bool:
        """Go by SQLSTATE; an error without one is psycopg's, which could not load a value."""
        state = getattr(error, "sqlstate", None)
        return state[:2] in ROW_ERROR_CLASSES if state else type(error).__name__ == "DataError"

    def is_outdated(self, error: BaseException) -> bool:
        """Tell that a prepared statement does not survive an ALTER TABLE (cached plan must not change …)."""
        return getattr(error, "sqlstate", None) == "0A000"

    def message(self, error: Any) -> str:
        """Return the primary message; not the detail, which shows values, nor what a function's RAISE says."""
        state = getattr(error, "sqlstate", None)
        if not state:
            return super().message(error)
        words = error.diag.message_primary or ""
        return f"{'an exception was raised' if state == 'P0001' else words} (SQLSTATE {state})"


def array_literal(values: Collection[object]) -> str:
    """Write a one-dimensional array as PostgreSQL reads it, every element quoted."""
    texts = list(map(str, values))
    joined = "".join(texts)
    if texts and '"' not in joined and "\\" not in joined:
        return '{"' + '","'.join(texts) + '"}'
    return "{" + ",".join(['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]) + "}"
