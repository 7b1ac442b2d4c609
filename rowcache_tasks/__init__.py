"""Keep chosen rows of a SQL database in Redis as JSON, each refreshed on its own interval.

The import of this package imports neither SQLAlchemy nor Celery.
"""

from rowcache_tasks.errors import (
    ArgumentError,
    CacheError,
    ConfigError,
    EncodingError,
    FillError,
    MissingExtraError,
    RowCacheError,
    RowTypeError,
    SourceError,
)
from rowcache_tasks.reader import AsyncRowCache, CachedRow, ReadThrough, RowCache
from rowcache_tasks.schedule.refresher import Refresher
from rowcache_tasks.schedule.row_id import row_id

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "AsyncRowCache",
    "CacheError",
    "CachedRow",
    "ConfigError",
    "EncodingError",
    "FillError",
    "MissingExtraError",
    "ReadThrough",
    "Refresher",
    "RowCache",
    "RowCacheError",
    "RowTypeError",
    "SourceError",
    "__version__",
    "row_id",
]
