"""Engine that reads the database, and the kind of server behind it: pooler, replica."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from weakref import WeakSet

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from rowcache_tasks.database.dialects import Dialect, dialect_of
from rowcache_tasks.database.outage import Outage, source_errors
from rowcache_tasks.database.statement import read_sql
from rowcache_tasks.errors import ConfigError, MissingExtraError
from rowcache_tasks.errors.text import one_line, redact

logger = logging.getLogger(__name__)

ALLOWED = (
    "allowed is postgresql+psycopg://…, mysql+pymysql://…, mariadb+pymysql://…, sqlite:///… or another of SQLAlchemy's"
)
DATABASE_URL = "rowcache_database_url"
UNANSWERED = "cannot ask the database"
EXTRAS = {"psycopg": "postgresql", "pymysql": "mysql"}  # driver -> extra of the package

engines_of_replicas: WeakSet[Engine] = WeakSet()  # engines of which a connection has led to a replica
warned_urls: set[str] = set()
"""URLs that led to a replica. A forked child has those of its parent, and is silent about them."""


def create_source_engine(
    url: str,
    *,
    statement_timeout_s: float,
    pool_size: int = 2,
    setting: str = DATABASE_URL,
    may_be_replica: bool = False,
) -> Engine:
    """Make an engine whose sessions are read-only, autocommitting and bounded where the database can do so.

    No connection is opened. Make one per process: an engine must not be shared across a fork. Raises ConfigError for a
    URL or a driver that cannot be used; `setting` is the place of the URL, for messages. A replica is warned of,
    unless it `may_be_replica`.
    """
    try:
        parsed = make_url(url)
        dialect = dialect_of(parsed.get_backend_name())
        parsed, arguments = dialect.engine_arguments(parsed, statement_timeout_s, setting)
        engine = create_engine(
            parsed,
            poolclass=QueuePool,
            pool_size=pool_size,
            max_overflow=8,
            pool_timeout=10,
            pool_recycle=1800,
            pool_use_lifo=True,
            hide_parameters=True,
            **arguments,
        )
    except (ArgumentError, NoSuchModuleError, ValueError) as error:  # ValueError: a port that is not a number
        raise ConfigError(f"{setting} is not a URL that SQLAlchemy can open: {ALLOWED}") from error
    except ImportError as error:
        if extra := EXTRAS.get(error.name or parsed.get_driver_name()):
            raise MissingExtraError.of(setting, extra, error) from error
        found = f"needs the module {error.name!r}, which is not installed" if error.name else f"cannot start: {error}"
        raise ConfigError(
            f"{setting} {one_line(found)}: install it, or name "
            "psycopg (pip install 'rowcache-tasks[postgresql]') or pymysql (pip install 'rowcache-tasks[mysql]')"
        ) from error
    if engine.dialect.is_async:
        raise ConfigError(f"{setting} names the asyncio driver {engine.driver!r}: {ALLOWED}")
    _add_listeners(engine, dialect, statement_timeout_s, setting, may_be_replica)
    return engine


def call_while_waiting(engine: Engine, call: Callable[[], object]) -> None:
    """Call a function ten times a second while PostgreSQL is silent. Other drivers offer no such thing."""
    if engine.dialect.name == "postgresql":

        @event.listens_for(engine, "checkout")
        def watch(dbapi_connection: Any, *_: object) -> None:
            dbapi_connection.on_wait = call


def _add_listeners(
    engine: Engine, dialect: Dialect, statement_timeout_s: float, setting: str, may_be_replica: bool
) -> None:
    """Let the dialect open and set up the connections of an engine."""
    outage = Outage()

    @event.listens_for(engine, "do_connect")
    def connect(driver: Any, _record: object, arguments: Any, keywords: Any) -> Any:
        with outage.watch((engine.dialect.loaded_dbapi.Error,)):
            try:
                found = dialect.connect(arguments, keywords, statement_timeout_s)
                return found or driver.connect(*arguments, **keywords)
            except (TypeError, AttributeError, LookupError) as error:
                reason = f"{engine.driver} refuses an option of the URL: {one_line(str(error))}"
                raise ConfigError(f"{setting} {redact(str(engine.url))}: {reason}") from error

    @event.listens_for(engine, "connect")
    def set_up_session(dbapi_connection: Any, _record: object) -> None:
        dialect.set_up_session(dbapi_connection, statement_timeout_s)
        url = redact(str(engine.url))
        if engine not in engines_of_replicas and dialect.is_replica(dbapi_connection):
            engines_of_replicas.add(engine)
            if url not in warned_urls and not may_be_replica:
                logger.warning(
                    "%s %s leads to a replica: while it lags, rows are older than promised, and newer values are "
                    "replaced by older ones: name the primary, or set 'replica' on the tables (docs/replicas.md)",
                    setting,
                    url,
                )
            warned_urls.add(url)


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
