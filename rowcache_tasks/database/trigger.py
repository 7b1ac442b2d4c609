"""SQL of PostgreSQL triggers that notify of changed rows, and the row ids in their notifications."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.dialects import SourceColumn
from rowcache_tasks.database.table import SourceTable
from rowcache_tasks.errors import ArgumentError, ConfigError

MANY = "many"  # payload in place of row ids: more than MAX_ROWS, or all
MAX_ROWS = 1000  # rows of one statement whose ids are sent
MAX_BYTES = 7900  # PostgreSQL sends payloads of less than 8000 bytes
EVENTS = {"insert": 4, "update": 16, "delete": 8, "truncate": 32}  # event -> its bit in pg_trigger.tgtype
TABLE_KINDS = ("r", "p")  # of pg_class.relkind: table, partitioned table

PLACE = sa.text("""
SELECT n.nspname, c.relname, c.relkind::text FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.to_regclass(:relation)
""")
INSTALLED = sa.text("""
SELECT t.tgtype FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = pg_catalog.to_regclass(:relation) AND p.proname = :name AND t.tgenabled IN ('O', 'A')
""")

FUNCTION = """\
-- Notifies `rowcache follow` of changed rows of {relation}. To remove it: DROP FUNCTION {function}() CASCADE;
BEGIN;
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY' AS $rowcache$
DECLARE
    keys text[];
    item text;
    payload text := '';
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(k) INTO keys FROM ({new}) AS found;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(k) INTO keys FROM ({old}) AS found;
    ELSIF TG_OP = 'UPDATE' THEN
        SELECT array_agg(k) INTO keys FROM (({new}) UNION ({old})) AS found;
    END IF;
    IF TG_OP = 'TRUNCATE' OR cardinality(keys) > {max_rows} THEN
        PERFORM pg_notify({channel}, '{many}');
        RETURN NULL;
    END IF;
    FOREACH item IN ARRAY coalesce(keys, '{{}}') LOOP
        IF octet_length(item) > {max_bytes} THEN
            PERFORM pg_notify({channel}, '{many}');
            CONTINUE;
        END IF;
        IF octet_length(payload) + octet_length(item) >= {max_bytes} THEN
            PERFORM pg_notify({channel}, '[' || payload || ']');
            payload := '';
        END IF;
        payload := payload || CASE payload WHEN '' THEN '' ELSE ',' END || item;
    END LOOP;
    IF payload <> '' THEN
        PERFORM pg_notify({channel}, '[' || payload || ']');
    END IF;
    RETURN NULL;
END $rowcache$;
"""
TRIGGER = """\
DROP TRIGGER IF EXISTS {trigger} ON {relation};
CREATE TRIGGER {trigger} AFTER {event} ON {relation}{tables} FOR EACH STATEMENT EXECUTE FUNCTION {function}();
"""
TRANSITION = {
    "insert": " REFERENCING NEW TABLE AS rowcache_new",
    "update": " REFERENCING OLD TABLE AS rowcache_old NEW TABLE AS rowcache_new",
    "delete": " REFERENCING OLD TABLE AS rowcache_old",
    "truncate": "",
}


def channel_of(settings: Table) -> str:
    """Return the name of the channel and of the function: at most 63 bytes with the event behind it."""
    full = ".".join(filter(None, (settings.deployment, settings.name)))
    name = re.sub("[^A-Za-z0-9]", "_", full)[:36]
    digest = "" if name == full else "_" + hashlib.sha256(full.encode()).hexdigest()[:8]
    return f"rowcache_{name}{digest}"


def trigger_sql(settings: Table, table: SourceTable, connection: Connection) -> str:
    """Return the SQL that installs the triggers. Raises ArgumentError for a view."""
    schema, name, kind = connection.execute(PLACE, {"relation": quoted_relation(table, connection)}).one()
    if kind not in TABLE_KINDS:
        raise ArgumentError(
            f"{settings.setting}: {settings.table!r} is a view or a foreign table, whose changes no trigger sees: "
            "follow it by a column (--source watermark --column NAME)"
        )
    quote = connection.dialect.identifier_preparer.quote_identifier
    key = [table.columns[column] for column in table.key]
    place = {"relation": f"{quote(schema)}.{quote(name)}", "function": f"{quote(schema)}.{quote(channel_of(settings))}"}
    old, new = (_select(key, quote, rows) for rows in ("rowcache_old", "rowcache_new"))
    channel = f"'{channel_of(settings)}'"
    limits = {"max_rows": MAX_ROWS, "max_bytes": MAX_BYTES, "many": MANY}
    parts = [FUNCTION.format(**place, **limits, old=old, new=new, channel=channel)]
    for event, tables in TRANSITION.items():
        trigger = quote(f"{channel_of(settings)}_{event}")
        parts.append(TRIGGER.format(**place, trigger=trigger, event=event.upper(), tables=tables))
    return "".join([*parts, "COMMIT;\n"])


def check_triggers(settings: Table, table: SourceTable, connection: Connection) -> None:
    """Raise ConfigError unless the triggers are installed."""
    place = {"relation": quoted_relation(table, connection), "name": channel_of(settings)}
    found = 0
    for events in connection.scalars(INSTALLED, place):
        found |= events
    if missing := [event for event, bit in EVENTS.items() if not found & bit]:
        raise ConfigError(
            f"{settings.setting}: {settings.table!r} has no trigger that notifies of {', '.join(missing)}: "
            f"print the SQL with `rowcache follow {settings.name} --sql`, and run it as the owner of the table"
        )


def read_payload(table: SourceTable, payload: str) -> list[str] | None:
    """Return the row ids of a notification; None: many rows, or a payload that is not of these triggers."""
    try:
        keys = json.loads(payload)
        return [table.row_key.write(key) for key in keys if all(isinstance(part, str) for part in key)]
    except (ValueError, TypeError, ArithmeticError):
        return None


def quoted_relation(table: SourceTable, connection: Connection | Engine) -> str:
    """Return the name of the table as to_regclass reads it."""
    return connection.dialect.identifier_preparer.format_table(table.relation).replace("%%", "%")


def _select(key: Sequence[SourceColumn], quote: Callable[[str], str], rows: str) -> str:
    """Return the SELECT of the keys as JSON arrays of texts, as the driver would return them."""
    texts = ", ".join(_text(part, quote(part.name)) for part in key)
    there = " AND ".join(f"{quote(part.name)} IS NOT NULL" for part in key)
    return f"SELECT json_build_array({texts})::text AS k FROM {rows} WHERE {there} LIMIT {MAX_ROWS + 1}"  # noqa: S608


def _text(part: SourceColumn, column: str) -> str:
    if part.key_cast == 'pg_catalog."bytea"':
        return f"translate(encode({column}, 'base64'), E'\\n', '')"
    if part.key_cast == 'pg_catalog."bool"':
        return f"{column}::text"
    return f"format('%s', {column})"
