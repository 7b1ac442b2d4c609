"""Celery application of the project, with the tasks of rowcache_tasks and its own."""

import os

from celery import Celery

from rowcache_tasks import install

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
install(app)
