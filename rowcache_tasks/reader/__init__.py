"""Readers of cached rows: RowCache and AsyncRowCache."""

from rowcache_tasks.reader.aio import AsyncRowCache
from rowcache_tasks.reader.cache import RowCache
from rowcache_tasks.reader.near.cache import NearStatistics
from rowcache_tasks.reader.operations import CachedRow
from rowcache_tasks.reader.options import ReadThrough

__all__ = ["AsyncRowCache", "CachedRow", "NearStatistics", "ReadThrough", "RowCache"]
