"""Dialect of MySQL and MariaDB, for any driver."""

import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import CHAR, DECIMAL, URL, ColumnElement, Connection, TableClause, bindparam, cast, column, text

from rowcache_tasks.database import key_type
from rowcache_tasks.database.dialects.dialect import AUTOCOMMIT, Dialect, SourceColumn
from rowcache_tasks.database.encoding import Converter, embedded
from rowcache_tasks.database.key_type import BOOLEANS, KeyType
from rowcache_tasks.database.statement import statement

JSON_CHECK = re.compile(r"json_valid\(`((?:[^`]|``)+)`\)", re.IGNORECASE)

# Errors that the values of a row can cause, see is_row_error.
ROW_ERRORS = {
    *(1139, 1242, 1264, 1267, 1270, 1271, 1292, 1300, 1301, 1365, 1366, 1406, 1411, 1441, 1644, 1690, 1977),
    *(3037, 3064, 3140, 3141, 3143, 3144, 3146, 3157, 3158, 3854, 4035, 4036, 4037, 4038),
}

BYTES = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "bigint": 8}
AS_TEXT = {"decimal", "date", "datetime", "timestamp", "time", "uuid", "inet4", "inet6"}  # drivers lose parts of these
NOT_ALLOWED = (1064, 1227)  # syntax error, as old servers say SLAVE; access denied

REPLICA_SIGNS = (
    "SHOW GLOBAL VARIABLES WHERE variable_name IN ('read_only', 'innodb_read_only')",
    "SHOW GLOBAL STATUS WHERE variable_name IN ('Slave_running', 'Slaves_running')",
)
"""A primary has OFF or 0 in each. Any user may ask."""


class MySQL(Dialect):
    """MySQL and MariaDB."""

    session_id = "SELECT CONNECTION_ID()"
    clock = "SELECT UNIX_TIMESTAMP(SYSDATE(6))"
    tomorrow = "NOW() + INTERVAL 1 DAY"

    def engine_arguments(self, url: URL, statement_timeout_s: float, setting: str) -> tuple[URL, dict[str, Any]]:
        """Autocommit, with time-outs: the drivers' default is none, and a connection to a vanished host would hang."""
        timeouts = {"connect_timeout": 10, "read_timeout": math.ceil(statement_timeout_s) + 60, "write_timeout": 30}
        return url, {"connect_args": timeouts, **AUTOCOMMIT}

    def set_up_session(self, dbapi_connection: Any, statement_timeout_s: float) -> None:
        """Bound each statement; MySQL and MariaDB have different variables and units for it."""
        with dbapi_connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            if "mariadb" in str(cursor.fetchone()[0]).lower():
                limit = f"max_statement_time = {max(0.001, statement_timeout_s):.3f}"
            else:
                limit = f"max_execution_time = {max(1, round(statement_timeout_s * 1000))}"
            cursor.execute(f"SET SESSION time_zone = '+00:00', {limit}")
            cursor.execute("SET SESSION TRANSACTION READ ONLY")

    def is_replica(self, dbapi_connection: Any) -> bool:
        """Go by the server's variables; a replica that allows writes is found only by a user with the right to ask."""
        with dbapi_connection.cursor() as cursor:
            for statement in REPLICA_SIGNS:
                cursor.execute(statement)
                if any(str(value).upper() not in ("OFF", "0") for _, value in cursor.fetchall()):
                    return True
            try:
                cursor.execute("SHOW REPLICA STATUS")
            except Exception as error:
                if error.args[0] not in NOT_ALLOWED:
                    raise
                return False
            return bool(cursor.fetchall())

    def set_up_stream(self, connection: Connection) -> None:
        """Lift the time limit, which here includes the reading of the result."""
        mariadb = getattr(connection.dialect, "is_mariadb", False)
        limit = "max_statement_time" if mariadb else "max_execution_time"
        connection.detach()
        connection.exec_driver_sql(f"SET SESSION {limit} = 0, net_write_timeout = 600")

    def columns(self, connection: Connection, relation: TableClause) -> list[SourceColumn]:
        """Read information_schema, which has views and every type."""
        place = {"schema": relation.schema, "table": relation.name}
        is_json: set[str] = set()
        if getattr(connection.dialect, "is_mariadb", False):
            for clause in connection.scalars(statement("mysql_json_checks"), place):
                is_json.update(name.replace("``", "`") for name in JSON_CHECK.findall(clause))
        return [
            _describe(name, "json" if name in is_json else data_type.lower(), column_type)
            for name, data_type, column_type in connection.execute(statement("mysql_columns"), place)
        ]

    def primary_key(self, connection: Connection, relation: TableClause) -> Sequence[str]:
        """Read information_schema: SQLAlchemy would parse all of SHOW CREATE TABLE."""
        place = {"schema": relation.schema, "table": relation.name}
        return list(connection.scalars(statement("mysql_primary_key"), place))

    def bound(self, part: SourceColumn, name: str) -> ColumnElement[Any]:
        """Compare decimal numbers as such: with a text they are compared as floating-point numbers."""
        value: ColumnElement[Any] = bindparam(name)
        return cast(value, DECIMAL(65, 30)) if part.type_name.startswith("decimal") else value

    def is_row_error(self, error: BaseException) -> bool:
        """Go by the error number; drivers raise DataError for only some of them."""
        return bool(error.args) and error.args[0] in ROW_ERRORS

    def is_catalog_error(self, error: BaseException) -> bool:
        """Go by the error number: unknown column, table, or a view whose table has changed."""
        return bool(error.args) and error.args[0] in (1054, 1109, 1146, 1356)


def _describe(name: str, data_type: str, column_type: str) -> SourceColumn:
    """Choose how a column is read by its DATA_TYPE."""
    expression: ColumnElement[Any] = column(name)
    if data_type in AS_TEXT:
        expression = cast(expression, CHAR)
    elif data_type == "float":
        # The server prints only six digits of a FLOAT, but all of a DOUBLE.
        expression = expression.op("*")(text("1e0"))
    return SourceColumn(name, column_type, expression, CONVERTERS.get(data_type), _key_type(data_type, column_type))


def _key_type(data_type: str, column_type: str) -> KeyType | None:
    if data_type == "binary":
        return key_type.bytes_key(int(column_type[len("binary(") : -1]))
    if data_type not in BYTES:
        return KEY_TYPES.get(data_type)
    values = 2 ** (8 * BYTES[data_type])
    low = 0 if "unsigned" in column_type else -values // 2
    key = key_type.integer_key(low, low + values - 1)
    if column_type == "tinyint(1)":  # BOOLEAN
        return replace(key, parse=lambda text: int(BOOLEANS[text]) if text in BOOLEANS else key.parse(text))
    return key


def _iso_date(value: str) -> str:
    """Refuse zero dates (0000-00-00, 2026-00-00), which are not in the calendar."""
    if value[:4] == "0000" or value[5:7] == "00" or value[8:10] == "00":
        raise ValueError("the date has a zero year, month or day: store NULL instead")
    return value


def _iso_datetime(value: str) -> str:
    """2026-11-22 19:39:19.5 -> 2026-11-22T19:39:19.5."""
    return _iso_date(value).replace(" ", "T", 1)


def _utc_timestamp(value: str) -> str:
    """2026-11-22 19:39:19.5 -> 2026-11-22T19:39:19.5Z: the session's time zone is UTC."""
    return _iso_datetime(value) + "Z"


def _shortest_float(value: float) -> float:
    """Return the shortest number that is the same FLOAT: 0.1, not 0.10000000149011612."""
    stored = struct.pack("f", value)
    for digits in range(6, 9):
        shorter = float(f"{value:.{digits}g}")
        if struct.pack("f", shorter) == stored:
            return shorter
    return float(f"{value:.9g}")


CONVERTERS: Mapping[str, Converter] = {
    "float": _shortest_float,
    "date": _iso_date,
    "datetime": _iso_datetime,
    "timestamp": _utc_timestamp,
    "json": embedded,
}

KEY_TYPES = {
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), key_type.text_key()),
    **dict.fromkeys(("varbinary", "tinyblob", "blob", "mediumblob", "longblob"), key_type.bytes_key()),
    **dict.fromkeys(("enum", "set", "inet4", "inet6"), key_type.text_key()),
    "year": key_type.integer_key(0, 2155),
    "datetime": key_type.moment_key(is_utc=False),
    "timestamp": key_type.moment_key(is_utc=True),
    "decimal": key_type.DECIMAL_KEY,
    "date": key_type.DATE_KEY,
    "uuid": key_type.UUID_KEY,
}
