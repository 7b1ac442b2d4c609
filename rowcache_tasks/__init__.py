"""Keep chosen rows of a SQL database in Redis as JSON, each refreshed on its own interval.

The import of this package imports neither SQLAlchemy nor Celery.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from celery import Celery

    from rowcache_tasks.reader import AsyncRowCache, CachedRow, ReadThrough, RowCache
    from rowcache_tasks.schedule.refresher import Refresher
    from rowcache_tasks.schedule.row_id import row_id

_PLACES = {
    **dict.fromkeys(("AsyncRowCache", "CachedRow", "ReadThrough", "RowCache"), "reader"),
    "Refresher": "schedule.refresher",
    "row_id": "schedule.row_id",
}
"""Public name -> the module that is imported when it is first used: an application that only sends reads nothing."""

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


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # else type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
        return found
