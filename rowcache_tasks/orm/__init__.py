"""Commit hook for SQLAlchemy sessions."""

from rowcache_tasks.orm.hook import CommitHook, refresh_on_commit, touched

__all__ = ["CommitHook", "refresh_on_commit", "touched"]
