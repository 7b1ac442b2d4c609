"""Own what an application with SQLAlchemy uses so that readers see its changes at once: refresh_on_commit.

Needs SQLAlchemy, which the package brings along. Must not import Celery before a task is to be sent.
"""

from rowcache_tasks.orm.hook import CommitHook, refresh_on_commit, touched

__all__ = ["CommitHook", "refresh_on_commit", "touched"]
