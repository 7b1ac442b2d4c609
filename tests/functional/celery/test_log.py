import logging
import sys

import pytest

from rowcache_tasks.celery.log import Printable, json_formatter, set_up_handlers
from rowcache_tasks.errors import MissingExtraError


def printed(name, message, *arguments, is_all=True, error=None):
    """Return what a handler of Celery's log prints."""
    info = (type(error), error, None) if error else None
    record = logging.LogRecord(name, logging.INFO, "file", 1, message, arguments, info)
    assert Printable(is_all).filter(record)
    return logging.Formatter("%(message)s").format(record)


def test_message_of_the_package_is_one_printable_line():
    error = ValueError("column\n\x1b[31mred")
    assert printed("rowcache_tasks.worker", "%s: %s", "a\x1b[2J", error) == "a\\x1b[2J: column \\x1b[31mred"


def test_message_of_others_keeps_its_line_breaks():
    assert printed("celery", "one\ntwo\x07 %d %%", 5) == "one\ntwo\\x07 5 %"
    assert printed("shop", "one\x07", is_all=False) == "one\x07", "in an application of the user"


def test_traceback_is_printable_too():
    shown = printed("rowcache_tasks.worker", "failed", error=ValueError("\x1b[2J\nsecond"))
    assert shown == "failed\nValueError: \\x1b[2J\nsecond"


def test_arguments_that_do_not_fit_are_left_to_logging():
    record = logging.LogRecord("celery", logging.INFO, "file", 1, "%d", ("x",), None)
    assert Printable(True).filter(record)


def test_log_without_the_extra_stays_text_and_the_check_has_the_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pythonjsonlogger", None)
    monkeypatch.setitem(sys.modules, "pythonjsonlogger.json", None)
    with pytest.raises(MissingExtraError, match=r"rowcache_log_format 'json' .*pip install 'rowcache-tasks\[json\]'"):
        json_formatter()


def test_handlers_of_the_user_get_the_filter_and_keep_their_format():
    logger, handler = logging.getLogger("rowcache_test_log"), logging.StreamHandler()
    handler.setFormatter(form := logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    set_up_handlers(logger)
    assert handler.formatter is form
    assert [type(each) for each in handler.filters] == [Printable]
