"""Settings of the project; servers come from the environment."""

import os

from rowcache_tasks.orm.django import database_url

SECRET_KEY = os.environ.get("SECRET_KEY", "only for this example")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["rowcache_tasks.orm.django", "inventory"]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("PGDATABASE", "shop"),
        "USER": os.environ.get("PGUSER", ""),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
        "HOST": os.environ.get("PGHOST", ""),
        "PORT": os.environ.get("PGPORT", ""),
        "CONN_MAX_AGE": 60,
    }
}

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "redis://localhost/1")
CELERY_ROWCACHE_REDIS_URL = os.environ.get("ROWCACHE_REDIS_URL", "redis://localhost/0")
CELERY_ROWCACHE_DATABASE_URL = database_url(DATABASES["default"])
CELERY_ROWCACHE_TABLES = {"inv": {"table": "inventory_item"}}
