"""Own which sessions are meant by what a caller passes: a class, a maker, a registry or a session, sync or async.

Must not know what is done with them.
"""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.quotation import shorten

__all__ = ["sync_session_of", "target_of"]


def target_of(given: Any) -> type[Session] | Session:
    """Return the class of sync sessions, or the sync session, that is listened to. Raises ArgumentError.

    An async_sessionmaker without a sync_session_class gets one of its own; without that, the sessions of the whole
    process would be meant. Call this before the first session is made.
    """
    if isinstance(given, scoped_session | async_scoped_session):
        given = given.session_factory
    if isinstance(given, sessionmaker):
        return given.class_
    if isinstance(given, async_sessionmaker):
        return class_of_maker(given)
    if isinstance(given, type) and issubclass(given, AsyncSession):
        return given.sync_session_class
    if isinstance(given, AsyncSession):
        return given.sync_session
    if isinstance(given, Session) or (isinstance(given, type) and issubclass(given, Session)):
        return given
    raise ArgumentError(
        f"refresh_on_commit: found {shorten(given)}, allowed are a Session or AsyncSession, its class, "
        "its sessionmaker or its scoped_session"
    )


def class_of_maker(maker: async_sessionmaker[Any]) -> type[Session]:
    """Return the class of the sync sessions below the maker's, one that no other maker has."""
    found: type[Session] = maker.kw.get("sync_session_class") or maker.class_.sync_session_class
    if found is Session:
        found = type("Session", (Session,), {})
        maker.configure(sync_session_class=found)
    return found


def sync_session_of(given: Any) -> Session:
    """Return the session that a caller means, of a registry the current one. Raises ArgumentError."""
    if isinstance(given, scoped_session | async_scoped_session):
        given = given()
    if isinstance(given, AsyncSession):
        given = given.sync_session
    if not isinstance(given, Session):
        raise ArgumentError(f"touched: found {shorten(given)}, allowed is a Session or AsyncSession")
    return given
