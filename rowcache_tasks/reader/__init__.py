"""Own the reading side: what application code imports. Imports neither SQLAlchemy nor Celery before it has to."""

from rowcache_tasks.reader.async_row_cache import AsyncRowCache
from rowcache_tasks.reader.cached_row import CachedRow
from rowcache_tasks.reader.near_cache import NearStatistics
from rowcache_tasks.reader.read_through import ReadThrough
from rowcache_tasks.reader.row_cache import RowCache

__all__ = ["AsyncRowCache", "CachedRow", "NearStatistics", "ReadThrough", "RowCache"]
