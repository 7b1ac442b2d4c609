"""Configuration module as users write it, for code that reads its own settings."""

import sys


def write_settings(monkeypatch, folder, redis_url, **settings):
    """Write the module and name it to this process and its children until the test ends."""
    settings = {"redis_url": redis_url, "tables": {"inv": {"table": "inventory"}}} | settings
    lines = [f"rowcache_{name} = {value!r}\n" for name, value in settings.items()]
    (folder / "test_settings.py").write_text("".join(lines))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "test_settings")
    # Another test may have imported a module of the same name.
    monkeypatch.delitem(sys.modules, "test_settings", raising=False)
