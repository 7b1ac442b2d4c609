"""Places of the settings."""

import sys

import pytest
from celery import Celery
from support import login

from rowcache_tasks import ConfigError
from rowcache_tasks.config.source import REDIS_URL, hide_password, import_configuration, read_application, read_module
from rowcache_tasks.schedule import connection


def test_a_current_directory_that_was_removed_is_left_out(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(connection, "providers", {})
    before = [*sys.path]
    assert isinstance(connection.load_provider(login.NAME), login.Login)
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "no_such_configuration")
    with pytest.raises(
        ConfigError, match="was not found in the current directory, which was removed, or on the Python"
    ):
        import_configuration()
    assert sys.path == before


def test_module_that_is_named_and_not_there_is_an_error_although_the_environment_has_all_settings(monkeypatch):
    monkeypatch.setenv("ROWCACHE_REDIS_URL", "redis://localhost")
    monkeypatch.setenv("ROWCACHE_TABLES", '{"inv": {"table": "inventory"}}')
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "no_such_configuration")
    with pytest.raises(ConfigError, match="configuration module 'no_such_configuration' was not found"):
        read_module([REDIS_URL, "rowcache_tables"])


def test_url_that_replaces_one_whose_password_is_hidden_is_the_one_that_is_read():
    app = Celery(set_as_current=False)
    app.conf[REDIS_URL] = "redis://me:hunter2@old/0"
    hide_password(app)
    assert "hunter2" not in app.conf[REDIS_URL]
    assert read_application(app)[REDIS_URL] == "redis://me:hunter2@old/0"
    app.conf[REDIS_URL] = "redis://new/0"
    assert read_application(app)[REDIS_URL] == "redis://new/0"
