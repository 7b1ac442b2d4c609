"""Exception of the demo and its servers."""

from rowcache_tasks.errors import RowCacheError

__all__ = ["REMEDY", "DemoError"]

REMEDY = "pip install 'rowcache-tasks[demo]'"
"""End of a message about a missing package."""


class DemoError(RowCacheError):
    """A process of the demo or of the tests cannot run; the last lines of its log follow the first line."""
