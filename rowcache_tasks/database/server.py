"""Kind of server behind an engine: pooler, replica."""

from contextlib import ExitStack

from sqlalchemy import Engine

from rowcache_tasks.database.dialects import dialect_of
from rowcache_tasks.database.outage import source_errors
from rowcache_tasks.database.statement import read_sql

UNANSWERED = "cannot ask the database"


def is_pooled(engine: Engine) -> bool:
    """Whether a pooler shares sessions between clients, as PgBouncer in transaction mode, seen by two connections."""
    statement = dialect_of(engine.dialect.name).session_id
    if not statement:
        return False
    seen: tuple[set[object], set[object]] = (set(), set())
    with source_errors(engine, UNANSWERED), engine.connect() as one, engine.connect() as two:
        for _ in range(3):
            for connection, ids in zip((one, two), seen, strict=True):
                ids.add(connection.exec_driver_sql(statement).scalar())
    return seen[0] == seen[1] or max(map(len, seen)) > 1


def is_replica(engine: Engine) -> bool:
    """Whether a new or pooled connection leads to a replica. Raises SourceError when it cannot be used."""
    with source_errors(engine, UNANSWERED), engine.connect() as connection:
        return dialect_of(engine.dialect.name).is_replica(connection.connection.dbapi_connection)


def read_position(engine: Engine) -> str:
    """Return the position of the server in its log, as parse_position accepts it; "" without one. Raises SourceError.

    All that was committed before the call is up to it.
    """
    statement = dialect_of(engine.dialect.name).position
    if not statement:
        return ""
    with source_errors(engine, UNANSWERED), engine.connect() as connection:
        return str(connection.exec_driver_sql(statement).one()[1] or "")


def read_lags(engine: Engine, connections: int = 4) -> list[float | None]:
    """Return of each new connection that leads to a replica how far that is behind; seconds, None when unknown.

    By the clocks of the replica and its primary. Raises SourceError.
    """
    dialect, found = dialect_of(engine.dialect.name), list[float | None]()
    with source_errors(engine, UNANSWERED), ExitStack() as stack:
        for _ in range(connections):
            connection = stack.enter_context(engine.connect())
            if dialect.is_replica(connection.connection.dbapi_connection):
                lag_s = connection.exec_driver_sql(dialect.lag).scalar() if dialect.lag else None
                found.append(None if lag_s is None else float(lag_s))
    return found


def held_log(engine: Engine) -> dict[str, tuple[int, str]]:
    """Return slot -> bytes of log that it holds back, state of the log; empty without slots. Raises SourceError."""
    if engine.dialect.name != "postgresql":
        return {}
    with source_errors(engine, UNANSWERED), engine.connect() as connection:
        found = connection.exec_driver_sql(read_sql("slot_log"))
        return {name: (int(held or 0), state or "") for name, held, state in found}
