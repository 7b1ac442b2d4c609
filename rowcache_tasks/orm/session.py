"""Sync session or class behind a session, class, maker or registry."""

import sys
from typing import Any

from sqlalchemy.orm import Session, scoped_session, sessionmaker

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.text import shorten


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
