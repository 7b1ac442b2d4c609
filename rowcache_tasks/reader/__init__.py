"""Own the reading side: what application code imports. Imports neither SQLAlchemy nor Celery before it has to."""

from rowcache_tasks.reader.aio import AsyncRowCache
from rowcache_tasks.reader.cache import RowCache
from rowcache_tasks.reader.cached_row import CachedRow
from rowcache_tasks.reader.near.cache import NearStatistics
from rowcache_tasks.reader.read_through import ReadThrough

__all__ = ["AsyncRowCache", "CachedRow", "NearStatistics", "ReadThrough", "RowCache"]
