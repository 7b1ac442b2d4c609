"""Kind of server behind an engine: pooler, replica."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from rowcache_tasks.database.dialects import dialect_of
from rowcache_tasks.errors import SourceError
from rowcache_tasks.errors.text import MAX_TEXT, one_line

SLOTS = """
SELECT slot_name, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
    ELSE pg_current_wal_lsn() END, restart_lsn), wal_status
FROM pg_replication_slots WHERE database = current_database()
"""


def is_pooled(engine: Engine) -> bool:
    """Whether a pooler lends one session of the server to several clients, as PgBouncer does in transaction mode.

    Opens two connections of an engine of create_source_engine. Raises SourceError when they cannot be used.
    """
    statement = dialect_of(engine.dialect.name).session_id
    if not statement:
        return False
    seen: tuple[set[object], set[object]] = (set(), set())
    with _wrapped_errors(), engine.connect() as one, engine.connect() as two:
        for _ in range(3):
            for connection, ids in zip((one, two), seen, strict=True):
                ids.add(connection.exec_driver_sql(statement).scalar())
    return seen[0] == seen[1] or max(map(len, seen)) > 1


def is_replica(engine: Engine) -> bool:
    """Whether a new or pooled connection leads to a replica. Raises SourceError when it cannot be used."""
    with _wrapped_errors(), engine.connect() as connection:
        dbapi_connection = connection.connection.dbapi_connection
        return dialect_of(engine.dialect.name).is_replica(dbapi_connection)


def held_log(engine: Engine) -> dict[str, tuple[int, str]]:
    """Return the bytes of log that each logical replication slot of the database holds back, and the state of the log.

    Empty for servers without slots. Raises SourceError when the server cannot be asked.
    """
    if engine.dialect.name != "postgresql":
        return {}
    with _wrapped_errors(), engine.connect() as connection:
        return {name: (int(held or 0), state or "") for name, held, state in connection.exec_driver_sql(SLOTS)}


@contextmanager
def _wrapped_errors() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise SourceError(one_line(f"cannot ask the database: {getattr(error, 'orig', error)}", MAX_TEXT)) from error
