"""Times at which changed rows are due, by the capacity that is free."""

from types import SimpleNamespace

import pytest

from rowcache_tasks.schedule.load import Load
from rowcache_tasks.worker import pace
from rowcache_tasks.worker.pace import AT_ONCE, Pace


@pytest.fixture
def clock(monkeypatch):
    """Clock that a test moves."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def wait_s(own, rows, *, is_burst):
    """Return when a batch is due, all of whose rows are made due."""
    own.begin(rows, is_burst=is_burst)
    found = own.wait_s(rows)
    own.end(rows)
    return found


@pytest.mark.parametrize(
    ("load", "rate"),
    [
        (Load(demand=500, capacity=3000, busy=1), 1000),
        (Load(demand=5000, capacity=3000, busy=2), 150),
        (Load(demand=5, capacity=0, busy=0), 1),
        (Load(demand=500, capacity=None, busy=None), 500),
    ],
)
def test_burst_takes_less_than_half_of_the_free_capacity(clock, load, rate):
    own = Pace(lambda: load)
    waits = [wait_s(own, 200, is_burst=True) for _ in range(1000)]
    assert waits[-1] == pytest.approx(999 * 200 / rate)


def test_other_changes_are_due_at_once_after_a_burst_as_far_as_there_is_capacity(clock):
    own = Pace(lambda: Load(demand=0, capacity=1000, busy=0))
    last_s = [wait_s(own, 200, is_burst=True) for _ in range(1000)][-1]
    assert [wait_s(own, 1, is_burst=False) for _ in range(100)] == [0] * 100
    clock.now += 1
    assert sum(wait_s(own, 1, is_burst=False) == 0 for _ in range(2 * AT_ONCE)) == AT_ONCE
    assert wait_s(own, 1, is_burst=False) > last_s
    clock.now += 2 * last_s
    assert wait_s(own, 200, is_burst=True) == 0


def test_rows_that_are_not_scheduled_or_due_before_take_no_place(clock):
    own = Pace(lambda: Load(demand=0, capacity=1000, busy=0))
    for _ in range(1000):
        own.begin(200, is_burst=True)
        own.wait_s(200)
        own.end(2)
    assert wait_s(own, 200, is_burst=True) < 6


def test_batches_of_one_round_trip_are_due_one_after_the_other_also_after_one_that_failed(clock):
    own = Pace(lambda: Load(demand=0, capacity=1000, busy=0))
    for _ in range(10):
        own.begin(1000, is_burst=True)
        assert [own.wait_s(200) for _ in range(3)] == pytest.approx([0, 0.5, 1])
    own.end(400)
    own.begin(1000, is_burst=True)
    assert own.wait_s(200) == pytest.approx(1)
