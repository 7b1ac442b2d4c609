"""Places of the settings, where the current directory was removed while the process runs."""

import sys

import pytest
from support import login

from rowcache_tasks import ConfigError
from rowcache_tasks.config.source import import_configuration
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
