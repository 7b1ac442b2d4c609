"""Commit hook: collects rows at each flush, delivers them after commit."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, event
from sqlalchemy.engine import Result
from sqlalchemy.orm import InstanceState, Mapper, ORMExecuteState, Session, SessionTransaction

from rowcache_tasks.config.settings import Settings, load_settings
from rowcache_tasks.database.engine import read_position
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.orm.bulk import BulkStatement
from rowcache_tasks.orm.delivery import Delivery, send_tasks
from rowcache_tasks.orm.mapped_key import MappedKey, base_table
from rowcache_tasks.orm.session import Changes, PendingChanges, Row, hooked_sessions, sync_session
from rowcache_tasks.schedule.arguments import parse_row_ids
from rowcache_tasks.schedule.refresher import Refresher
from rowcache_tasks.schedule.row_id import Key, Many
from rowcache_tasks.worker.warning import warn_once

logger = logging.getLogger(__name__)

INFO_KEY = "rowcache_tasks"  # in session.info: hook -> pending changes

DEFAULT_TIMEOUT_S = 1.0


def refresh_on_commit(
    session: Any,
    classes: Mapping[type, str | Sequence[str]],
    *,
    via: Literal["redis", "task"] = "redis",
    url: str | None = None,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    timeout: float | None = None,
) -> "CommitHook":
    """Refresh the rows that sessions write, as soon as they are committed; docs/writing.md has the limits.

    `session`: a Session class, sessionmaker, scoped_session, their counterparts of asyncio, or one session. `classes`:
    mapped class -> the cached table, or tables, of its rows and those of its subclasses.

    Settings are those of the configuration module, or of `url` and `tables`; `timeout` is in seconds (1.0), as for a
    Refresher. A Redis that is away raises nothing, and delays about one commit in a second.

    `via="task"` sends the task refresh_now instead, with the settings of the configuration module alone and the
    broker's time-outs.

    Raises ArgumentError or ConfigError for wrong arguments or settings; no session is hooked then.
    """
    if via not in ("redis", "task"):
        raise ArgumentError(f'refresh_on_commit: via is {shorten(via)}: allowed are "redis" and "task"')
    timeout_s = DEFAULT_TIMEOUT_S if timeout is None else timeout
    if via == "task":
        _refuse_with_task(url=url, tables=tables, timeout=timeout)
        import rowcache_tasks.tasks  # noqa: F401, PLC0415 an extra: an error now, and none after a commit

        refresher, settings = None, load_settings()
    else:
        refresher = Refresher(url=url, tables=tables, timeout=timeout_s)
        settings = refresher.settings
    keys = list(_mapped_keys(classes, settings))
    delivery = Delivery(refresher.touch_rows if refresher else send_tasks, timeout_s)
    return CommitHook(hooked_sessions(session), keys, delivery, settings, refresher)


def _refuse_with_task(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise ArgumentError(
                f'refresh_on_commit: via is "task" and {name} is {shorten(value)}: tasks go by the configuration '
                f'module alone; leave {name} out, or via="task"'
            )


def _mapped_keys(classes: Mapping[type, str | Sequence[str]], settings: Settings) -> Iterable[MappedKey]:
    if not isinstance(classes, Mapping) or not classes:
        raise ArgumentError(f'refresh_on_commit: classes is {shorten(classes)}: allowed is {{Inventory: "inv"}}')
    for mapped, names in classes.items():
        for name in [names] if isinstance(names, str) else names:
            yield MappedKey(mapped, settings.table(name))


def touched(session: Any, table: str, row_ids: Many[Key]) -> None:
    """Add rows to those that the current transaction changes, for changes that the hook does not see.

    With several hooks on the session, each that has the table in its settings takes them.

    Raises ArgumentError outside of a transaction, for a session without a hook, and for a wrong table or row id.
    """
    found = sync_session(session)
    wanted = parse_row_ids(row_ids)
    pending: dict[CommitHook, PendingChanges] = found.info.get(INFO_KEY, {})
    current = {hook: ours.current(found) for hook, ours in pending.items() if hook.listeners}
    changes = {hook: ours for hook, ours in current.items() if ours}
    if not changes:
        raise ArgumentError(
            "touched: found no transaction of a session that refresh_on_commit was called with: "
            "call it between the change and the commit"
        )
    for hook in [hook for hook in changes if isinstance(table, str) and table in hook.settings.tables] or changes:
        hook.settings.table(table)  # raises when no hook has the table
        changes[hook].add((table, row_id) for row_id in wanted)


class CommitHook:
    """Hook on sessions until it is removed; made by refresh_on_commit. Thread-safe, with one thread a session."""

    def __init__(
        self,
        sessions: type[Session] | Session,
        keys: Sequence[MappedKey],
        delivery: Delivery,
        settings: Settings,
        refresher: Refresher | None,
    ) -> None:
        self.refresher = refresher  # to refresh rows by hand, in the same way; None with via="task"
        self.settings = settings
        self._sessions = sessions
        self._keys = keys
        self._delivery = delivery
        self._warned: set[str] = set()
        self.listeners: list[tuple[Any, str, Callable[..., Any], dict[str, Any]]] = [  # empty: removed
            (sessions, "after_transaction_create", self._pending, {}),
            (sessions, "do_orm_execute", self._execute, {"retval": True}),
            (sessions, "after_flush", self._flushed, {}),
            (sessions, "after_commit", self._committed, {}),
            (sessions, "after_transaction_end", self._end, {}),
        ]
        of_objects = {"after_insert": self._insert, "before_update": self._update, "before_delete": self._delete}
        for mapper in dict.fromkeys(key.mapper for key in keys):
            for name, listener in of_objects.items():
                self.listeners.append((mapper, name, listener, {"raw": True, "propagate": True}))
        for target, name, listener, options in self.listeners:
            event.listen(target, name, listener, **options)

    def remove(self) -> None:
        """Unhook the sessions and close the connections to Redis. Changes not committed yet are not delivered."""
        listeners, self.listeners = self.listeners, []
        for target, name, listener, _ in listeners:
            event.remove(target, name, listener)
        if self.refresher is not None:
            self.refresher.close()

    def _pending(self, session: Session, _transaction: SessionTransaction | None = None) -> PendingChanges:
        pending: dict[CommitHook, PendingChanges] = session.info.setdefault(INFO_KEY, {})
        return pending.setdefault(self, PendingChanges())

    def _changes_with(self, state: InstanceState[Any]) -> Changes | None:
        """Return the changes that an object's write belongs to; None when its session is not hooked."""
        session, hooked = state.session, self._sessions
        is_hooked = isinstance(session, hooked) if isinstance(hooked, type) else session is hooked
        return self._pending(session).current(session) if session is not None and is_hooked else None

    def _insert(self, _mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
        if changes := self._changes_with(state):
            changes.flushing[state] = connection.dialect, [], True

    def _update(self, mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
        if changes := self._changes_with(state):
            # Decided now: the flush clears attributes that the database computes (Item.stock - 1, func.now()).
            before = self._rows_before(mapper, connection, state)
            changes.flushing[state] = connection.dialect, before, _is_modified(state)

    def _delete(self, mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
        if changes := self._changes_with(state):
            changes.add(self._rows_before(mapper, connection, state))

    def _rows_before(self, mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> list[Row]:
        found = ((key.table, key.id_before(state, connection)) for key in self._keys if mapper.isa(key.mapper))
        return [(table, row_id) for table, row_id in found if row_id is not None]

    def _flushed(self, session: Session, _context: object) -> None:
        """Add the rows of written objects, except those without a changed column."""
        changes = self._pending(session).current(session)
        if changes is None or not changes.flushing:
            return
        flushing, changes.flushing = changes.flushing, {}
        for state, (dialect, before, is_changed) in flushing.items():
            if not (is_changed or _is_modified(state)):  # a listener of the application may change it after ours
                continue
            found = ((key.table, key.id_now(state, dialect)) for key in self._keys if state.mapper.isa(key.mapper))
            changes.add(before)
            changes.add((table, row_id) for table, row_id in found if row_id is not None)

    def _execute(self, state: ORMExecuteState) -> Result[Any] | None:
        """Run a bulk statement that changes a registered class; None leaves all others to SQLAlchemy."""
        if not (state.is_insert or state.is_update or state.is_delete):
            return None
        table = base_table(getattr(state.statement, "table", None))  # select(…).from_statement(insert(…)) has none
        keys = [key for key in self._keys if table in key.mapper.tables]
        if not keys:
            return None
        bulk = BulkStatement(state, keys, self._warned)
        result = bulk.run()
        if bulk.rows and (changes := self._pending(state.session).current(state.session)):
            changes.add(bulk.rows)
        return result

    def _committed(self, session: Session) -> None:
        self._pending(session).commit(session)

    def _end(self, session: Session, transaction: SessionTransaction) -> None:
        """Deliver, once the database connection is back in its pool."""
        rows: dict[str, list[str]] = {}
        for table, row_id in self._pending(session).end(transaction):
            rows.setdefault(table, []).append(row_id)
        if rows:
            self._delivery.send(rows, self._position(session, rows))

    def _position(self, session: Session, rows: Mapping[str, object]) -> str:
        """Return the position of the primary after the commit, if a table of the rows needs it."""
        for key in self._keys:
            if key.table in rows and self.settings.table(key.table).replica:
                try:
                    return read_position(session.get_bind(key.mapper).engine)
                except Exception as error:  # noqa: BLE001 the commit has succeeded
                    warn_once(logger, "position", "rows may be read from a replica before their change: %s", error)
        return ""


def _is_modified(state: InstanceState[Any]) -> bool:
    session = state.session
    return session is not None and session.is_modified(state.obj(), include_collections=False)
