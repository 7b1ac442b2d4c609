"""Django: refreshes after a commit, the database URL, `manage.py rowcache`."""

from rowcache_tasks.errors import MissingExtraError

try:
    import django  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingExtraError.of("rowcache_tasks.orm.django", "django", error) from None

from rowcache_tasks.orm.django.database_url import database_url
from rowcache_tasks.orm.django.save_hook import SaveHook, refresh_on_save, touched

__all__ = ["SaveHook", "database_url", "refresh_on_save", "touched"]
