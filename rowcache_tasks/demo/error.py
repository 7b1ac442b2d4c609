"""Own the demo's exception."""

from rowcache_tasks.errors import RowCacheError


class DemoError(RowCacheError):
    """The demo cannot go on; when a process left a log, its last lines follow the first line."""
