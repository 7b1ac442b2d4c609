"""Changed rows made due at the pace of the workers."""

import logging
from dataclasses import replace

import pytest

from rowcache_tasks.schedule.position import HEADER_BYTES
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.worker import follow
from rowcache_tasks.worker.follow import BUSY_BATCHES, BUSY_ROWS, Touches

ROWS = [str(n) for n in range(2000)]


@pytest.fixture
def touches(client, schedule):
    schedule.put_rows(dict.fromkeys(ROWS, (3600, 3600)))
    return Touches(client, schedule)


@pytest.fixture
def due(client):
    return lambda: client.zcount("schedule:", "-inf", client.time()[0] + 1)


def test_burst_waits_while_rows_that_are_due_wait(touches, due, schedule):
    touches.note(ROWS)
    for _ in range(10):
        assert not touches.flush()
    assert BUSY_ROWS < due() <= BUSY_ROWS + 200
    turns = 0
    while due():
        schedule.claim_rows(1000, 30)
        touches.flush()
        turns += 1
    assert turns >= 3
    assert touches.flush()
    assert len(schedule.scan(0, 5000)[1]) == len(ROWS)


def test_burst_waits_while_batches_wait_for_a_worker(touches, due, client):
    client.zadd("queue:", {str(n): n for n in range(BUSY_BATCHES + 1)})
    touches.note(ROWS)
    assert not touches.flush()
    assert due() == 0
    touches.note([])
    client.delete("queue:")
    touches.flush()
    assert due() > 0


def test_single_change_never_waits(touches, due, client):
    client.zadd("queue:", {str(n): n for n in range(BUSY_BATCHES + 1)})
    touches.note(["7"])
    assert touches.flush()
    assert due() == 1


def test_more_changes_than_fit_into_memory_are_counted_and_left_to_their_interval(touches, due, monkeypatch, caplog):
    monkeypatch.setattr(follow, "MAX_WAITING", 100)
    caplog.set_level(logging.WARNING)
    touches.note(ROWS)
    touches.note(ROWS[:100])
    assert touches.flush()
    assert due() == 100
    assert touches.flush()
    (line,) = caplog.messages
    assert line.startswith("rowcache_tables['inv']: 1,900 rows and 0 statements of many rows are left to the intervals")


def test_changed_rows_of_a_table_with_replicas_need_the_position_of_the_database(client, schedule):
    schedule.put_rows({"1": (3600, 3600)})
    located = Schedule(client, replace(schedule.table, replica=True))
    touches = Touches(client, located, lambda: "1/0")
    touches.note(["1"])
    assert touches.flush()
    assert client.zscore("position:", "1") == 2**32 - HEADER_BYTES
