"""Own the hook: what sessions write is collected at each flush, and handed over after the commit.

Must not know Redis or how keys are written.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, event
from sqlalchemy.engine import Result
from sqlalchemy.orm import InstanceState, Mapper, ORMExecuteState, Session, SessionTransaction

from rowcache_tasks.config.settings import Settings, load_settings
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.orm.bulk import BulkStatement
from rowcache_tasks.orm.delivery import Delivery, Route, TaskRoute
from rowcache_tasks.orm.mapped_key import MappedKey
from rowcache_tasks.orm.pending import Ledger, Row
from rowcache_tasks.orm.target import sync_session_of, target_of
from rowcache_tasks.schedule.refresher import Refresher, list_row_ids
from rowcache_tasks.text import shorten

__all__ = ["CommitHook", "refresh_on_commit", "touched"]

INFO_KEY = "rowcache_tasks"
"""In session.info: hook -> ledger."""

DEFAULT_TIMEOUT_S = 1.0
PATIENCE = 1.25
"""A coroutine waits for so many time-outs: the thread that hands over ends in about one, and tells itself why."""


def refresh_on_commit(
    session: Any,
    classes: Mapping[type, str | Sequence[str]],
    *,
    via: Literal["redis", "task"] = "redis",
    url: str | None = None,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    timeout: float | None = None,
) -> "CommitHook":
    """Refresh the rows that sessions write, as soon as they are committed; docs/writing.md tells which are seen.

    `session`: a Session class, sessionmaker, scoped_session, their counterparts of asyncio, or one session. `classes`:
    mapped class -> the cached table, or tables, that its rows are in; those of its subclasses are as well.

    Settings are those of the configuration module, or of `url` and `tables`, and `timeout` is in seconds (1.0), as for
    a Refresher. A Redis that is away raises nothing, and delays about one commit in a second.

    `via="task"` sends the task refresh_now instead, with the settings of the configuration module alone and the
    broker's time-outs.

    Raises ArgumentError or ConfigError for what cannot be; nothing is listened to then.
    """
    if via not in ("redis", "task"):
        raise ArgumentError(f'refresh_on_commit: via is {shorten(via)}: allowed are "redis" and "task"')
    if via == "task":
        refuse_with_task(url=url, tables=tables, timeout=timeout)
    timeout_s = DEFAULT_TIMEOUT_S if timeout is None else timeout
    refresher = Refresher(url=url, tables=tables, timeout=timeout_s) if via == "redis" else None
    settings = refresher.settings if refresher else load_settings()
    route: Route = refresher or TaskRoute()
    keys = list(mapped_keys(classes, settings))
    return CommitHook(target_of(session), keys, Delivery(route, PATIENCE * timeout_s), settings, refresher)


def refuse_with_task(**given: object) -> None:
    """Raise ArgumentError for an argument that a task would not heed."""
    for name, value in given.items():
        if value is not None:
            raise ArgumentError(
                f'refresh_on_commit: via is "task" and {name} is {shorten(value)}: tasks go by the configuration '
                f'module alone; leave {name} out, or via="task"'
            )


def mapped_keys(classes: Mapping[type, str | Sequence[str]], settings: Settings) -> Iterable[MappedKey]:
    """Look each class and table up; raises ArgumentError."""
    if not isinstance(classes, Mapping) or not classes:
        raise ArgumentError(f'refresh_on_commit: classes is {shorten(classes)}: allowed is {{Inventory: "inv"}}')
    for mapped, names in classes.items():
        for name in [names] if isinstance(names, str) else names:
            yield MappedKey(mapped, settings.table(name))


def touched(session: Any, table: str, row_ids: Any) -> None:
    """Name rows that the current transaction changes in a way that cannot be seen; they are refreshed with the others.

    When several hooks listen to the session, each that knows the table takes them.

    Raises ArgumentError outside of a transaction, for a session that no hook listens to, and for a table or a row id
    that cannot be.
    """
    found = sync_session_of(session)
    wanted = list_row_ids(row_ids)
    ledgers: dict[CommitHook, Ledger] = found.info.get(INFO_KEY, {})
    frames = {
        hook: frame
        for hook, ledger in ledgers.items()
        if hook.is_listening and (frame := ledger.current(found)) is not None
    }
    knowing = [hook for hook in frames if isinstance(table, str) and table in hook.settings.tables]
    for hook in knowing or frames:
        hook.settings.table(table)  # raises for the first, when none knows the table
        frames[hook].add((table, row_id) for row_id in wanted)
    if frames:
        return
    raise ArgumentError(
        "touched: found no transaction that refresh_on_commit listens to: call it between the change and the commit"
    )


class CommitHook:
    """Listens until it is removed. Made by refresh_on_commit. Thread-safe as far as sessions are: one thread each."""

    def __init__(
        self,
        target: type[Session] | Session,
        keys: Sequence[MappedKey],
        delivery: Delivery,
        settings: Settings,
        refresher: Refresher | None,
    ) -> None:
        self.refresher = refresher
        """To refresh rows by hand, in the same way; None: by tasks."""
        self.settings = settings
        self._target = target
        self._keys = keys
        self._delivery = delivery
        self._warned: set[str] = set()
        self._listeners: list[tuple[Any, str, Callable[..., Any], dict[str, Any]]] = [
            (target, "after_transaction_create", self._begin, {}),
            (target, "do_orm_execute", self._execute, {"retval": True}),
            (target, "after_flush", self._flushed, {}),
            (target, "after_commit", self._committed, {}),
            (target, "after_transaction_end", self._end, {}),
        ]
        for mapper in dict.fromkeys(key.mapper for key in keys):
            self._listeners += [
                (mapper, "after_insert", self._insert, {"raw": True, "propagate": True}),
                (mapper, "before_update", self._update, {"raw": True, "propagate": True}),
                (mapper, "before_delete", self._delete, {"raw": True, "propagate": True}),
            ]
        for listened, name, listener, options in self._listeners:
            event.listen(listened, name, listener, **options)

    @property
    def is_listening(self) -> bool:
        """Whether it was not removed."""
        return bool(self._listeners)

    def remove(self) -> None:
        """Listen no more, and close the connections to Redis. What is not committed yet is not refreshed at once."""
        listeners, self._listeners = self._listeners, []
        for target, name, listener, _ in listeners:
            event.remove(target, name, listener)
        if self.refresher is not None:
            self.refresher.close()

    def _begin(self, session: Session, _transaction: SessionTransaction) -> None:
        self._ledger(session)

    def _ledger(self, session: Session) -> Ledger:
        ledgers: dict[CommitHook, Ledger] = session.info.setdefault(INFO_KEY, {})
        return ledgers.setdefault(self, Ledger())

    def _of(self, mapper: Mapper[Any]) -> list[MappedKey]:
        return [key for key in self._keys if mapper.isa(key.mapper)]

    def _session_of(self, state: InstanceState[Any]) -> Session | None:
        """Return the session that writes an object; None when it is not one of those that are listened to."""
        session = state.session
        target = self._target
        is_ours = isinstance(session, target) if isinstance(target, type) else session is target
        return session if is_ours else None

    def _insert(self, _mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
        if (session := self._session_of(state)) and (frame := self._ledger(session).current(session)):
            frame.flushing[state] = connection.dialect, None

    def _update(self, mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
        if (session := self._session_of(state)) and (frame := self._ledger(session).current(session)):
            frame.flushing[state] = connection.dialect, self._before(mapper, connection, state)

    def _delete(self, mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
        if (session := self._session_of(state)) and (frame := self._ledger(session).current(session)):
            frame.add(self._before(mapper, connection, state))

    def _before(self, mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> list[Row]:
        found = ((key.table, key.id_before(state, connection)) for key in self._of(mapper))
        return [(table, row_id) for table, row_id in found if row_id is not None]

    def _flushed(self, session: Session, _context: object) -> None:
        """Add the rows of the objects that the flush has written. An object may be flushed without any change of it."""
        frame = self._ledger(session).current(session)
        if frame is None or not frame.flushing:
            return
        flushing, frame.flushing = frame.flushing, {}
        for state, (dialect, before) in flushing.items():
            if before is not None and not session.is_modified(state.obj(), include_collections=False):
                continue
            found = ((key.table, key.id_now(state, dialect)) for key in self._of(state.mapper))
            frame.add(before or ())
            frame.add((table, row_id) for table, row_id in found if row_id is not None)

    def _execute(self, state: ORMExecuteState) -> Result[Any] | None:
        """Run a bulk statement that changes a registered class; leave all others alone."""
        if not (state.is_insert or state.is_update or state.is_delete):
            return None
        table = getattr(state.statement, "table", None)  # select(…).from_statement(insert(…)) has none
        keys = [key for key in self._keys if table in key.mapper.tables]
        if not keys:
            return None
        bulk = BulkStatement(state, keys, self._warned)
        result = bulk.run()
        if bulk.rows and (frame := self._ledger(state.session).current(state.session)):
            frame.add(bulk.rows)
        return result

    def _committed(self, session: Session) -> None:
        self._ledger(session).commit(session)

    def _end(self, session: Session, transaction: SessionTransaction) -> None:
        """Hand over, now that the database connection is back in its pool."""
        rows: dict[str, list[str]] = {}
        for table, row_id in self._ledger(session).end(transaction):
            rows.setdefault(table, []).append(row_id)
        if rows:
            self._delivery.send(rows)
