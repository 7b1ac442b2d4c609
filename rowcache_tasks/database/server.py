"""Kind of server behind an engine: pooler, replica."""

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


def held_log(engine: Engine) -> dict[str, tuple[int, str]]:
    """Return slot -> bytes of log that it holds back, state of the log; empty without slots. Raises SourceError."""
    if engine.dialect.name != "postgresql":
        return {}
    with source_errors(engine, UNANSWERED), engine.connect() as connection:
        found = connection.exec_driver_sql(read_sql("slot_log"))
        return {name: (int(held or 0), state or "") for name, held, state in found}
