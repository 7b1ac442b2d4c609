"""Log of a process of Celery: printable lines, as text or as JSON."""

import json
import logging
import re
from collections.abc import Mapping
from copy import copy
from typing import Any

import redis
from celery.signals import after_setup_logger, after_setup_task_logger
from kombu.exceptions import OperationalError

from rowcache_tasks.celery.application import active_app, is_package, settings_of
from rowcache_tasks.celery.outage import PutBackError
from rowcache_tasks.errors import ConfigError, MissingExtraError
from rowcache_tasks.errors.text import escape, hide_logins, one_line, shorten

FIELDS = {"levelname": "level", "name": "logger", "processName": "process"}
"""Attribute of a record -> its field in JSON."""
TAKEN = {*FIELDS.values(), "timestamp"}  # fields of each line, which none of an event may replace
SHOWN_OF_TASK = ("id", "name", "runtime")
"""Of the fields that Celery adds, those that its text has too: the others hold arguments and results of tasks."""
SECRET = re.compile(r"passw|secret|token|credential|authori[sz]ation|api_?key", re.IGNORECASE)
MAX_DEPTH, MAX_ITEMS = 4, 100  # of a list or mapping in a field
MAX_NUMBER = 2**63  # others, NaN and infinity are texts
PACKAGE_LOGGER = "rowcache_tasks"
CONNECTED = ("celery.beat", "celery.worker.consumer", "celery.worker.request", "kombu")
"""Loggers of what has a connection to the broker."""
OF_MESSAGES = ("celery.worker", "kombu.pidbox", PACKAGE_LOGGER)
"""Loggers whose messages are one line: Celery's have ids and names of messages and commands as they were sent."""
LOST = (redis.ConnectionError, redis.TimeoutError, OperationalError, OSError)
"""Errors of that connection, which is opened again: no place in the code explains them."""


class Printable(logging.Filter):
    """Escapes control characters in messages and tracebacks, ours or all; some messages are one line."""

    def __init__(self, is_all: bool) -> None:
        super().__init__()
        self._is_all = is_all

    def filter(self, record: logging.LogRecord) -> bool:
        """Escape control characters, leave out a task that was put back; return whether to log the record."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, PutBackError):
            return False
        is_ours = record.name.partition(".")[0] == PACKAGE_LOGGER
        if not (is_ours or self._is_all):
            return True
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            return True  # arguments that do not fit: logging names the line
        if isinstance(error, LOST) and record.name.startswith(CONNECTED):
            message = f"{message.strip()}: {type(error).__name__}: {error}"
            record.msg, record.args, record.exc_info, record.exc_text = message, (), None, None
        if record.exc_info and not record.exc_text:
            record.exc_text = escape(logging.Formatter().formatException(record.exc_info))
        if not message.isprintable():
            record.msg, record.args = (one_line if record.name.startswith(OF_MESSAGES) else escape)(message), ()
        return True


def json_formatter() -> logging.Formatter:
    """Return a formatter that writes a JSON object a line. Raises MissingExtraError."""
    try:
        from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 an extra
    except ImportError as error:
        raise MissingExtraError.of("rowcache_log_format 'json'", "json", error) from error

    class EventFormatter(JsonFormatter):
        """The fields of each line, and those of the event as plain_fields has them."""

        def format(self, record: logging.LogRecord) -> str:
            event = copy(record)  # other handlers have the record too
            given = {name: vars(event).pop(name) for name in vars(record).keys() - self.reserved_attrs}
            vars(event).update(plain_fields(given, is_of_celery=record.name.startswith("celery.")))
            return escape_json(super().format(event))

        def formatException(self, ei: Any) -> str:  # noqa: N802 name of logging
            return escape(str(super().formatException(ei)))

    return EventFormatter([*FIELDS, "message"], timestamp=True, rename_fields=FIELDS, json_ensure_ascii=False)


def plain_fields(given: Mapping[Any, Any], *, is_of_celery: bool = False) -> dict[str, Any]:
    """Return the fields of an event as JSON: bounded, without secrets, under names that no other field has."""
    found = {}
    for key, value in sorted(given.items(), key=lambda item: str(item[0])):
        if is_of_celery and key == "data" and isinstance(value, Mapping):
            value = {name: value[name] for name in SHOWN_OF_TASK if name in value}  # noqa: PLW2901
        name = one_line(str(key))
        found[f"{name}_" if name in TAKEN else name] = "***" if SECRET.search(name) else plain(value)
    return found


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return a value as JSON has it; any other as a text."""
    try:
        if isinstance(value, str):
            return hide_logins(one_line(value))
        if depth and isinstance(value, Mapping):
            items = [(one_line(str(name)), item) for name, item in [*value.items()][:MAX_ITEMS]]
            return {name: "***" if SECRET.search(name) else plain(item, depth - 1) for name, item in items}
        if depth and isinstance(value, list | tuple | set | frozenset):
            return [plain(item, depth - 1) for item in [*value][:MAX_ITEMS]]
        is_number = abs(value) < MAX_NUMBER if isinstance(value, int | float) else value is None
    except Exception:  # noqa: BLE001 an object whose methods fail
        is_number = False
    return value if is_number else shorten(value)


def escape_json(line: str) -> str:
    """Escape the characters of a JSON text that are not printable; its meaning stays."""
    return line if line.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


@after_setup_logger.connect(weak=False)
@after_setup_task_logger.connect(weak=False)
def set_up_handlers(logger: logging.Logger, **_: Any) -> None:
    """Let the handlers of a process print what can be printed, in the form of the settings."""
    app = active_app()
    try:
        formatter = json_formatter() if settings_of(app).log_format == "json" else None
    except ConfigError:
        formatter = None  # the check at the start has the line
    for handler in logger.handlers:
        handler.addFilter(Printable(is_package(app)))
        if formatter is not None:
            handler.setFormatter(formatter)
