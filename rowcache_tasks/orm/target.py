"""Own which sessions are meant by what a caller passes: a class, a maker, a registry or a session, sync or async.

Must not know what is done with them.
"""

import sys
from typing import Any

from sqlalchemy.orm import Session, scoped_session, sessionmaker

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.text import shorten

__all__ = ["sync_session_of", "target_of"]


def target_of(given: Any) -> type[Session] | Session:
    """Return the class of sync sessions, or the sync session, that is listened to. Raises ArgumentError.

    An async_sessionmaker without a sync_session_class gets one of its own; without that, the sessions of the whole
    process would be meant. Call this before the first session is made.
    """
    found = without_asyncio(given.session_factory if isinstance(given, scoped_session) else given, wants_session=False)
    if isinstance(found, sessionmaker):
        return found.class_
    if isinstance(found, Session) or (isinstance(found, type) and issubclass(found, Session)):
        return found
    raise ArgumentError(
        f"refresh_on_commit: found {shorten(given)}, allowed are a Session or AsyncSession, its class, "
        "its sessionmaker or its scoped_session"
    )


def sync_session_of(given: Any) -> Session:
    """Return the session that a caller means, of a registry the current one. Raises ArgumentError."""
    found = without_asyncio(given() if isinstance(given, scoped_session) else given, wants_session=True)
    if isinstance(found, Session):
        return found
    raise ArgumentError(f"touched: found {shorten(given)}, allowed is a Session or AsyncSession")


def without_asyncio(given: Any, *, wants_session: bool) -> Any:
    """Return the sync class or session below an async one, of a registry its session or its maker's; others as is."""
    # Imported only by who has imported it already: it needs greenlet, which not everybody has.
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
