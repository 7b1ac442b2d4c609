"""Places of the settings: a Celery application, the configuration module, the environment."""

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import hide_logins, one_line, redact, shorten

PREFIX = "rowcache_"
REDIS_URL = "rowcache_redis_url"
REQUIRED = (REDIS_URL, "rowcache_tables")
TEXTS = {REDIS_URL, "rowcache_database_url", "rowcache_alive_file", "rowcache_deployment", "rowcache_log_format"}
"""Settings that are texts: in the environment, all others are JSON."""


class NoModuleError(ConfigError):
    """There is no configuration module: the environment may have all settings."""


_hidden: "WeakKeyDictionary[Any, str]" = WeakKeyDictionary()
"""Application -> URL of Redis, when its settings have the URL without the password."""
_finders: list[Callable[[], Any]] = []
_overrides: dict[str, Any] = {}


def set_application(find: Callable[[], Any]) -> None:
    """Let settings come from the application that `find` returns; None: from the configuration module."""
    _finders[:] = [find]


def override(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Put settings before those of every place, for tests; return the ones that were there before."""
    previous = dict(_overrides)
    _overrides.clear()
    _overrides.update(settings)
    return previous


def read_settings(known: Iterable[str], app: Any = None) -> dict[str, Any]:
    """Return the settings of `app` or the installed one, else the module, and the environment. Raises ConfigError."""
    if app is None and _finders:
        app = _finders[0]()
    found = {} if app is None else read_application(app)
    return found | read_environment(known, found) | _overrides if found else read_module(known)


def read_given(known: Iterable[str], app: Any) -> dict[str, Any]:
    """Return the settings of an application that a caller names, and of the environment. Raises ConfigError."""
    found = read_application(app)
    found |= read_environment(known, found) | _overrides
    missing = [name for name in REQUIRED if found.get(name) is None]
    if missing:
        raise ConfigError(
            f"{missing[0]} is not set in the application {app.main!r}, which app= names: set it there, or leave app out"
        )
    return found


def read_application(app: Any) -> dict[str, Any]:
    """Return the rowcache_* settings of a Celery application: CELERY_ROWCACHE_* with the namespace CELERY."""
    if not hasattr(app, "conf"):
        raise ConfigError(f"app is {shorten(app)}: allowed is a Celery application")
    found = {name: app.conf.get(name) for name in names_in(app).values() if name.startswith(PREFIX)}
    if app in _hidden and found.get(REDIS_URL) == redact(_hidden[app]):
        found[REDIS_URL] = _hidden[app]
    return {name: value for name, value in found.items() if value is not None}


def names_in(app: Any) -> dict[str, str]:
    """Return the settings of an application: as it has them -> without the namespace, in lower case."""
    keys = [key for key in app.conf if isinstance(key, str)]  # reads the configuration
    prefix = f"{app.namespace}_".lower() if getattr(app, "namespace", None) else ""
    return {key: key.lower().removeprefix(prefix) if prefix else key for key in keys}


def hide_password(app: Any) -> None:
    """Keep a password out of `celery report`, `inspect conf` and Flower: Celery hides those in its own settings."""
    url = read_application(app).get(REDIS_URL)
    if isinstance(url, list | tuple):
        url = " ".join(map(str, url))
    if isinstance(url, str):
        _hidden[app] = url
        for key in [REDIS_URL, *(key for key, name in names_in(app).items() if name == REDIS_URL)]:
            app.conf[key] = redact(url)


def read_module(known: Iterable[str] = ()) -> dict[str, Any]:
    """Return the settings of the configuration module, and of the environment."""
    try:
        found, missing = vars(import_configuration()), None
    except NoModuleError as error:
        if os.environ.get("CELERY_CONFIG_MODULE"):
            raise
        found, missing = {}, error
    found = dict(found) | read_environment(known, found) | _overrides
    if missing and any(found.get(name) is None for name in REQUIRED):
        raise missing
    return found


def read_environment(known: Iterable[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are in the environment and not given. An empty variable counts as unset."""
    texts = {name: os.environ.get(name.upper()) for name in known if given.get(name) is None}
    return {name: text if name in TEXTS else parse_json(text) for name, text in texts.items() if text}


def parse_json(text: str) -> Any:
    """Parse a value; a text that is not JSON is the value, which its setting refuses."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def import_configuration() -> ModuleType:
    """Import CELERY_CONFIG_MODULE, default celeryconfig in the current directory. Raises ConfigError."""
    name = os.environ.get("CELERY_CONFIG_MODULE") or "celeryconfig"
    with current_directory() as here:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise broken(name, error) from error
            raise NoModuleError(
                f"configuration module {name!r} was not found in {here} or on the Python path: set "
                "CELERY_CONFIG_MODULE, or start in the directory that holds celeryconfig.py"
            ) from error
        except ConfigError:
            raise
        except Exception as error:
            raise broken(name, error) from error


def broken(name: str, error: Exception) -> ConfigError:
    """Return the error of a configuration module that cannot be imported: one line, with the place in the file."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    where = next((f" ({file}, line {line})" for file, line in reversed(places) if not file.startswith("<")), "")
    reason = error.msg if isinstance(error, SyntaxError) else str(error)
    text = hide_logins(one_line(f"{type(error).__name__}: {reason}", 300))
    return ConfigError(f"configuration module {name!r} cannot be imported: {text}{where}: correct it")


@contextmanager
def current_directory() -> Iterator[str]:
    """Put the current directory first on the Python path, unless it was removed; yield its name for messages."""
    try:
        here = str(Path.cwd())
    except OSError:
        yield "the current directory, which was removed,"
        return
    sys.path.insert(0, here)
    try:
        yield here
    finally:
        with suppress(ValueError):  # the module has removed it
            sys.path.remove(here)
