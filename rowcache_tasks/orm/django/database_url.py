"""SQLAlchemy's URL of a database of Django."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import connections
from sqlalchemy import URL

from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import shorten, suggest

DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgis": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "sqlite3": "sqlite",
    "spatialite": "sqlite",
}
"""Last part of ENGINE -> driver."""

OWN_OPTIONS = {"assume_role", "cursor_factory", "init_command", "isolation_level", "pool", "server_side_binding"}
"""OPTIONS that are Django's, or of a session that writes."""


def database_url(database: str | Mapping[str, Any] = "default") -> str:
    """Return the URL of a database, with its password: for rowcache_database_url and rowcache_databases.

    `database`: an alias; within the settings module itself, the dictionary: `database_url(DATABASES["default"])`.

    Raises ConfigError for a database that SQLAlchemy cannot open.
    """
    found = _settings_of(database) if isinstance(database, str) else database
    engine = str(found.get("ENGINE", ""))
    backend = engine.rpartition(".")[2]
    if backend not in DRIVERS:
        raise ConfigError(
            f"database_url: ENGINE is {shorten(engine)}: known are {', '.join(DRIVERS)}; "
            "for another, set rowcache_database_url to a URL of SQLAlchemy"
        )
    driver = DRIVERS[backend]
    if driver == "sqlite":
        return URL.create(driver, database=os.path.abspath(found["NAME"])).render_as_string()  # noqa: PTH100 not resolved
    host, query = str(found.get("HOST") or ""), _options(found)
    if host.startswith("/"):
        query["host" if backend.startswith("post") else "unix_socket"] = host
        host = ""
    return URL.create(
        driver,
        username=found.get("USER") or None,
        password=found.get("PASSWORD") or None,
        host=host or ("localhost" if backend == "mysql" and "unix_socket" not in query else None),
        port=int(found["PORT"]) if found.get("PORT") else None,
        database=found.get("NAME") or None,
        query=query,
    ).render_as_string(hide_password=False)


def _options(found: Mapping[str, Any]) -> dict[str, str]:
    options = dict(found.get("OPTIONS") or {})
    if isinstance(options.get("ssl"), Mapping):  # of MySQL, whose parts a URL has as ssl_ca, …
        options |= {f"ssl_{name}": value for name, value in options.pop("ssl").items()}
    return {
        name: str(value)
        for name, value in options.items()
        if name not in OWN_OPTIONS and not isinstance(value, Mapping)
    }


def _settings_of(alias: str) -> Mapping[str, Any]:
    if not settings.configured and os.environ.get("DJANGO_SETTINGS_MODULE") in sys.modules:
        raise ConfigError(
            f"database_url: the settings module is not complete: within it, write database_url(DATABASES[{alias!r}])"
        )
    if alias not in connections.settings:
        raise ConfigError(f"database_url: DATABASES has no {shorten(alias)}{suggest(alias, connections.settings)}")
    found: Mapping[str, Any] = connections[alias].settings_dict
    return found
