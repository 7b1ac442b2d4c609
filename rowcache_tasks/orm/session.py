"""Sync session of a session or a factory, and its changes by transaction."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.orm import InstanceState, Session, SessionTransaction, scoped_session, sessionmaker

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten


def hooked_sessions(given: Any) -> type[Session] | Session:
    """Return the class of sync sessions, or the sync session, whose events are those of `given`.

    An async_sessionmaker without a sync_session_class gets one of its own, because the default one stands for all
    sessions of the process; so call this before its first session is made. Raises ArgumentError.
    """
    found = _without_asyncio(given.session_factory if isinstance(given, scoped_session) else given, wants_session=False)
    if isinstance(found, sessionmaker):
        return found.class_
    if isinstance(found, Session) or (isinstance(found, type) and issubclass(found, Session)):
        return found
    raise ArgumentError(
        f"refresh_on_commit: session is {shorten(given)}: allowed are a Session or AsyncSession, its class, "
        "its sessionmaker or its scoped_session"
    )


def sync_session(given: Any) -> Session:
    """Return the sync session of a session, or of a registry's current one. Raises ArgumentError."""
    found = _without_asyncio(given() if isinstance(given, scoped_session) else given, wants_session=True)
    if isinstance(found, Session):
        return found
    raise ArgumentError(f"touched: session is {shorten(given)}: allowed is a Session or AsyncSession")


def _without_asyncio(given: Any, *, wants_session: bool) -> Any:
    """Return the sync class or session below an async one; otherwise `given`."""
    # It needs greenlet, an optional package; an application with async sessions has imported it already.
    if "sqlalchemy.ext.asyncio" not in sys.modules:
        return given
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker  # noqa: PLC0415

    if isinstance(given, async_scoped_session):
        given = given() if wants_session else given.session_factory
    if isinstance(given, async_sessionmaker):
        found: type[Session] = given.kw.get("sync_session_class") or given.class_.sync_session_class
        if found is Session:
            found = type("Session", (Session,), {})
            given.configure(sync_session_class=found)
        return found
    if isinstance(given, type) and issubclass(given, AsyncSession):
        return given.sync_session_class
    return given.sync_session if isinstance(given, AsyncSession) else given


Row = tuple[str, str]  # table and row id


@dataclass(slots=True)
class Changes:
    """Changes of one transaction or savepoint."""

    rows: dict[Row, None] = field(default_factory=dict)  # each once, in the order of the changes
    flushing: dict[InstanceState[Any], tuple[Dialect, list[Row], bool]] = field(default_factory=dict)
    """Objects of the flush under way -> dialect, rows before, and whether a column was changed before the flush."""

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows."""
        self.rows.update(dict.fromkeys(rows))


class PendingChanges:
    """Changes of one session, by transaction. The subtransactions that SQLAlchemy begins for each flush have none."""

    def __init__(self) -> None:
        self._changes: dict[SessionTransaction, Changes] = {}
        self._committed: dict[Row, None] = {}

    def current(self, session: Session) -> Changes | None:
        """Return the changes of the innermost savepoint or transaction; None outside of a transaction."""
        transaction = _innermost(session)
        return None if transaction is None else self._changes.setdefault(transaction, Changes())

    def commit(self, session: Session) -> None:
        """Move the changes of a savepoint to the transaction around it; keep those of a transaction until its end."""
        transaction = _innermost(session)
        changes = None if transaction is None else self._changes.pop(transaction, None)
        if transaction is None or changes is None:
            return
        outer = transaction.parent
        while outer is not None and outer.parent is not None and not outer.nested:
            outer = outer.parent
        if outer is None:
            self._committed = changes.rows
        else:
            self._changes.setdefault(outer, Changes()).add(changes.rows)

    def end(self, transaction: SessionTransaction) -> list[Row]:
        """Forget the changes that were not committed; returns the committed ones if the transaction is outermost."""
        self._changes.pop(transaction, None)
        if transaction.parent is not None:
            return []
        committed, self._committed = self._committed, {}
        return list(committed)


def _innermost(session: Session) -> SessionTransaction | None:
    """Return the innermost savepoint, or the transaction."""
    return session.get_nested_transaction() or session.get_transaction()
