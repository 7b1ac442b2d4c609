"""Keep chosen rows of a SQL database in Redis as JSON, each refreshed on its own interval.

The import of this package imports neither SQLAlchemy nor Celery.
"""

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from celery import Celery

__version__ = "0.2.0"

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
    "install",
    "row_id",
]


def install(app: "Celery") -> "Celery":
    """Add the tasks, queues, routes and start checks of the package to a Celery application; return it.

    The settings are then those of the application: `app.conf.rowcache_tables`, or CELERY_ROWCACHE_TABLES with the
    namespace CELERY. Its own tasks, queues, routes and beat entries stay as they are. A second call changes nothing.
    """
    from rowcache_tasks.celery.install import install as install_in  # noqa: PLC0415 an extra

    return install_in(app)
