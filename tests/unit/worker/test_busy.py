"""Cost of messages and rows, from the times of the messages of each process."""

import random

import pytest

from rowcache_tasks.worker import busy


@pytest.fixture
def note(monkeypatch):
    """Function that notes messages of a process: pairs of rows and seconds."""
    monkeypatch.setattr(busy, "ended_at", [0.0])
    monkeypatch.setattr(busy, "_sums", bytearray(len(busy._sums)))
    clock = [1000.0]
    monkeypatch.setattr(busy.time, "monotonic", lambda: clock[0])

    def run(messages, pid=1, namespace="", waited_s=-1.0):
        monkeypatch.setattr(busy.os, "getpid", lambda: pid)
        for rows, took_s in messages:
            clock[0] += 0.1
            busy.note_message(namespace, rows, clock[0] - waited_s, clock[0] - took_s)

    return run


def test_cost_of_a_full_message_is_known_from_small_ones(note):
    chance = random.Random(1)
    for pid in (1, 2):
        sizes = [chance.randint(1, 30) for _ in range(200)]
        note([(1, 5.0)], pid)  # the first message makes connections
        note([(n, (0.03 + 0.01 * n) * chance.uniform(0.7, 1.3)) for n in sizes], pid)
    message_s, row_s = busy.read_costs([""])[""]
    assert message_s + 500 * row_s == pytest.approx(0.03 + 500 * 0.01, rel=0.1)


def test_messages_of_one_size_are_divided_by_a_guess_and_costs_are_never_negative(note):
    note([(1, 1.0)] + [(10, 0.052)] * 50)
    assert busy.read_costs([""])[""] == (pytest.approx(0.002, rel=0.01), pytest.approx(0.005, rel=0.01))
    note([(1, 1.0)] + [(1, 0.5), (100, 0.1)] * 50, namespace="users")
    message_s, row_s = busy.read_costs(["users"])["users"]
    assert message_s > 0
    assert row_s > 0


def test_time_between_two_messages_counts_when_the_second_has_waited(note):
    note([(1, 1.0)] + [(10, 0.05)] * 50, waited_s=10)
    message_s, row_s = busy.read_costs([""])[""]
    assert message_s + 10 * row_s == pytest.approx(0.1)


def test_late_messages_are_as_full_as_they_get(note):
    note([(1, 1.0), *[(20, 0.05), (10, 0.04)] * 50], waited_s=0.05)
    assert busy.read_costs([""])[""][0] > 0
    note([(20, 0.05), (10, 0.04)] * 500, waited_s=60)
    assert busy.read_costs([""])[""] == (0.0, pytest.approx(0.1 / 15, rel=0.1))


def test_table_without_messages_has_no_cost_and_newer_messages_count_for_more(note):
    note([(1, 1.0)] + [(10, 1.0)] * 100)
    note([(10, 0.1)] * 1000)
    message_s, row_s = busy.read_costs(["", "users"])[""]
    assert message_s + 10 * row_s == pytest.approx(0.1, rel=0.25)
    assert "users" not in busy.read_costs(["", "users"])
