"""Application of Django, for `manage.py rowcache`."""

from django.apps import AppConfig


class RowCacheConfig(AppConfig):  # type: ignore[misc]
    """`"rowcache_tasks.orm.django"` in INSTALLED_APPS."""

    name = "rowcache_tasks.orm.django"
    label = "rowcache_tasks"
