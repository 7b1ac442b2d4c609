"""SQLAlchemy commit hook: readers see the changes of an application at once."""

from rowcache_tasks.orm.hook import CommitHook, refresh_on_commit, touched

__all__ = ["CommitHook", "refresh_on_commit", "touched"]
