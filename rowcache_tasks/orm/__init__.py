"""Commit hook for SQLAlchemy sessions."""

from rowcache_tasks.errors import MissingExtraError

try:
    import sqlalchemy  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingExtraError.of("rowcache_tasks.orm", "worker", error) from None

from rowcache_tasks.orm.hook import CommitHook, refresh_on_commit, touched

__all__ = ["CommitHook", "refresh_on_commit", "touched"]
