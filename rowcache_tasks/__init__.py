"""Keep chosen rows of a SQL database in Redis as JSON, each refreshed on its own interval.

Importing this package, as a web application that reads the cache does, imports neither SQLAlchemy nor Celery.
"""

from rowcache_tasks.client import RowCache
from rowcache_tasks.errors import ArgumentError, ConfigError, EncodingError, RowCacheError, SourceError

__all__ = ["ArgumentError", "ConfigError", "EncodingError", "RowCache", "RowCacheError", "SourceError"]
