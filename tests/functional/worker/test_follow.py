"""Changed rows made due, those of a burst one batch after the other."""

import logging
from dataclasses import replace

import pytest

from rowcache_tasks.schedule.load import Load
from rowcache_tasks.schedule.position import HEADER_BYTES
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.worker import follow
from rowcache_tasks.worker.follow import Touches

LOAD = Load(demand=100, capacity=350, busy=0.5)
ROWS = [str(n) for n in range(2000)]


@pytest.fixture
def touches(client, schedule):
    schedule.put_rows(dict.fromkeys(ROWS, (3600, 3600)))
    return Touches(client, schedule, lambda: LOAD)


@pytest.fixture
def due(client):
    return lambda: client.zcount("schedule:", "-inf", client.time()[0] + 1)


def test_burst_is_in_the_schedule_at_once_and_due_one_batch_after_the_other(touches, due, client, schedule):
    (began, _), (last,) = client.time(), ROWS[-1:]
    touches.note(ROWS[:-1])
    touches.flush()
    times = sorted(score for row_id, score in client.zrange("schedule:", 0, -1, withscores=True) if row_id != b"1999")
    assert times[800] > began + 2, "of 100 rows a second"
    assert times[1200] > began + 6
    assert times[-1] < client.time()[0] + 22
    touches.note([last])
    touches.flush()
    assert client.zscore("schedule:", last) < client.time()[0] + 1, "others are due at once"


def test_more_changes_than_fit_into_memory_are_counted_and_left_to_their_interval(touches, due, monkeypatch, caplog):
    monkeypatch.setattr(follow, "MAX_WAITING", 100)
    caplog.set_level(logging.WARNING)
    touches.note(ROWS)
    touches.note(ROWS[:100])
    touches.flush()
    assert due() == 100
    touches.flush()
    (line,) = caplog.messages
    assert line.startswith("rowcache_tables['inv']: 1,900 rows and 0 statements of many rows are left to the intervals")


def test_changed_rows_of_a_table_with_replicas_need_the_position_of_the_database(client, schedule):
    schedule.put_rows({"1": (3600, 3600)})
    located = Schedule(client, replace(schedule.table, replica=True))
    touches = Touches(client, located, lambda: LOAD, lambda: "1/0")
    touches.note(["1"])
    touches.flush()
    assert client.zscore("position:", "1") == 2**32 - HEADER_BYTES
