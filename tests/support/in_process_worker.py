"""This process as a worker: tasks called here run on the servers of the test."""

import warnings
from contextlib import contextmanager

from support.project import ROOT
from support.settings_module import write_settings

from rowcache_tasks.celery import app
from rowcache_tasks.celery.process import current_runtime, runtime_of


@contextmanager
def in_process_worker(monkeypatch, folder, redis_url, **settings):
    """Yield the runtime that tasks use inside the `with`."""
    monkeypatch.chdir(ROOT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Celery deprecates a task's attribute `queue`
        app.finalize()  # reads celeryconfig.py before the settings change
    write_settings(monkeypatch, folder, redis_url, **settings)
    runtime_of.cache_clear()
    runtime = current_runtime()
    try:
        yield runtime
    finally:
        runtime.client.close()
        runtime.dispose()
        runtime_of.cache_clear()
