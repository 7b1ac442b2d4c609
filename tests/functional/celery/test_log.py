import json
import logging
import sys
from types import SimpleNamespace

import pytest
import redis
from celery.exceptions import Reject

from rowcache_tasks.celery.log import Printable, json_formatter, set_up_handlers
from rowcache_tasks.celery.outage import Outage, PutBackError
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


@pytest.mark.parametrize("is_all", [True, False])
def test_change_that_goes_back_to_its_queue_has_no_line_of_celery(is_all):
    for error, is_logged in ((PutBackError("away", True), False), (Reject("of the user", True), True)):
        record = logging.LogRecord("celery.app.trace", 1, "file", 1, "", (), (type(error), error, None))
        assert Printable(is_all).filter(record) is is_logged


@pytest.mark.parametrize("error", [redis.ConnectionError("gone"), redis.TimeoutError("gone"), ConnectionResetError()])
def test_lost_connection_to_the_broker_has_no_traceback_and_a_task_that_fails_has_one(error):
    shown = printed("celery.worker.consumer.consumer", "Connection to broker lost", error=error)
    assert shown == f"Connection to broker lost: {type(error).__name__}: {error}"
    assert printed("celery.app.trace", "failed", error=error).startswith("failed\n")
    assert printed("celery.beat", "failed", error=ValueError("mistake")) == "failed\nValueError: mistake"


class Unshowable:
    def __repr__(self):
        raise RuntimeError


def test_fields_of_an_event_are_json_without_secrets_and_replace_no_other_field():
    circle = {}
    circle["circle"] = circle
    given = {
        "rows": 5,
        "level": "mine",
        "logger": "mine",
        "timestamp": 0,
        "url": "unreadable: redis://user:p@ss/w@host/0 and ?password=p@ss/w",
        "api_key": "p@ss/w",
        "options": {"db_password": "p@ss/w", ("a", 1): {"b"}, "none": None},
        "text": "a\x1b[2J\u202e\ud800\U000e0001\nb żółć",
        "numbers": [float("nan"), float("inf"), 10**5000, 1.5, True],
        "circle": circle,
        "odd": Unshowable(),
        "a\nb": 1,
        "many": range(10**9),
        "long": "x" * 10**6,
    }
    error = ValueError("\x1b[2J\u202e")
    record = logging.LogRecord("shop", logging.INFO, "file", 1, "bought \x7f", (), (ValueError, error, None))
    vars(record).update(given)
    before = dict(vars(record))
    line = json_formatter().format(record)
    assert vars(record) == before, "other handlers get it as it was"
    assert line.isprintable()
    assert "p@ss" not in line
    assert len(line) < 10_000
    found = json.loads(line, parse_constant=pytest.fail)
    standard = {"level": "INFO", "logger": "shop", "process": "MainProcess", "message": "bought \x7f", "rows": 5}
    assert (
        found.items() >= (standard | {"level_": "mine", "logger_": "mine", "timestamp_": 0, "api_key": "***"}).items()
    )
    assert found["exc_info"] == "ValueError: \\x1b[2J\\u202e"
    assert found["options"] == {"db_password": "***", "('a', 1)": ["b"], "none": None}
    assert "żółć" in line
    assert found["numbers"][3:] == [1.5, True]


def test_arguments_and_results_of_tasks_are_left_out():
    record = logging.LogRecord("celery.app.trace", logging.INFO, "file", 1, "succeeded", (), None)
    record.data = {"id": "1", "name": "shop.pay", "runtime": 0.5, "args": "('card',)", "return_value": "card"}
    assert json.loads(json_formatter().format(record))["data"] == {"id": "1", "name": "shop.pay", "runtime": 0.5}


def test_outage_has_a_line_for_its_begin_and_its_end_however_many_changes_wait(caplog, monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("rowcache_tasks.celery.outage.time.monotonic", lambda: clock.now)
    outage, away = Outage(), redis.ConnectionError("no\x1b\nanswer")
    outage.end("other")
    for change in "abcab":
        outage.begin(change, away)
        outage.end("other")  # of a table on another server
        clock.now += 1
    for change in "abc":
        outage.end(change)
    assert caplog.messages == [
        "changes_wait: Redis does not take schedule changes, each is tried again every second: "
        "ConnectionError: no\\x1b answer",
        "changes_resumed: Redis takes schedule changes again after 5.0 s, 3 changes waited",
    ]
    outage.begin("a", away)  # and then another worker gets it
    clock.now += 61
    outage.end("b")
    assert len(caplog.messages) == 4
    outage.begin("a", away)
    clock.now += 61
    outage.begin("b", away)
    assert len(caplog.messages) == 6, "two outages"


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
