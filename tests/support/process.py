"""This process as a worker: the tasks, called here, work on the servers of the test."""

import warnings
from contextlib import contextmanager

from support.deployment import ROOT
from support.settings import write_settings

from rowcache_tasks.celery import app
from rowcache_tasks.celery.process import current_runtime


@contextmanager
def working(monkeypatch, folder, redis_url, **settings):
    """Give the runtime that the tasks use meanwhile."""
    monkeypatch.chdir(ROOT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Celery deprecates a task's attribute `queue`
        app.finalize()  # reads celeryconfig.py, before the settings are others
    write_settings(monkeypatch, folder, redis_url, **settings)
    current_runtime.cache_clear()
    runtime = current_runtime()
    try:
        yield runtime
    finally:
        runtime.client.close()
        if runtime.settings.database_url:
            runtime.engine.dispose()
        current_runtime.cache_clear()
