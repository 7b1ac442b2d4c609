"""Log of a process of Celery: printable lines, as text or as JSON."""

import logging
from typing import Any

from celery.signals import after_setup_logger, after_setup_task_logger

from rowcache_tasks.celery.application import active_app, is_package, settings_of
from rowcache_tasks.errors import ConfigError, MissingExtraError
from rowcache_tasks.errors.text import escape, one_line

FIELDS = {"levelname": "level", "name": "logger", "processName": "process"}
"""Attribute of a record -> its field in JSON."""
PACKAGE_LOGGER = "rowcache_tasks"


class Printable(logging.Filter):
    """Escapes control characters in messages and tracebacks. A message of the package is one line.

    `is_all`: also in those of others, whose line breaks stay.
    """

    def __init__(self, is_all: bool) -> None:
        super().__init__()
        self._is_all = is_all

    def filter(self, record: logging.LogRecord) -> bool:
        """Change what is not printable; let every record pass."""
        is_ours = record.name.partition(".")[0] == PACKAGE_LOGGER
        if not (is_ours or self._is_all):
            return True
        if record.exc_info and not record.exc_text:
            record.exc_text = escape(logging.Formatter().formatException(record.exc_info))
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            return True  # arguments that do not fit: logging names the line
        if not message.isprintable():
            record.msg, record.args = one_line(message) if is_ours else escape(message), ()
        return True


def json_formatter() -> logging.Formatter:
    """Return a formatter that writes a JSON object a line. Raises MissingExtraError."""
    try:
        from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 an extra
    except ImportError as error:
        raise MissingExtraError.of("rowcache_log_format 'json'", "json", error) from error
    return JsonFormatter([*FIELDS, "message"], timestamp=True, rename_fields=FIELDS, json_ensure_ascii=False)


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
