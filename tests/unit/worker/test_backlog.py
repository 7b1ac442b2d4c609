"""Notifications of bursts that wait, the newest first."""

from rowcache_tasks.worker import backlog as module
from rowcache_tasks.worker.backlog import Backlog, count_rows


def drain(backlog):
    while backlog:
        yield backlog.newest()
        backlog.remove_newest()


def test_what_was_added_last_is_first_and_payloads_stay_as_they_were():
    backlog = Backlog()
    backlog.add("inv", ['[["1"],["2"]]', "many", '[["a\\u0000,],["]]'])
    backlog.add("other", ['[["7"]]'])
    assert [*drain(backlog)] == [
        ("other", ['[["7"]]']),
        ("inv", ['[["1"],["2"]]', "many", '[["a\\u0000,],["]]']),
    ]
    assert not backlog.is_full


def test_many_small_payloads_are_few_texts_of_a_thousand_rows():
    backlog = Backlog()
    backlog.add("inv", (f'[["{n}"]]' for n in range(10_500)))
    found = [len(payloads) for _, payloads in drain(backlog)]
    assert found == [500] + [1000] * 10


def test_large_payloads_are_a_text_of_their_own(monkeypatch):
    monkeypatch.setattr(module, "MAX_LENGTH", 20_000)
    backlog = Backlog()
    payload = "[" + ",".join(f'["{n}"]' for n in range(1000)) + "]"
    assert count_rows(payload) == 1000
    backlog.add("inv", [payload] * 3)
    assert backlog.is_full
    assert [*drain(backlog)] == [("inv", [payload])] * 3
    assert not backlog.is_full
