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


def warm(clock, load, count_due=lambda: 0):
    """Return the pace of a burst that has lasted for some seconds."""
    own = Pace(lambda: load, count_due)
    for _ in range(6):
        wait_s(own, 1, is_burst=True)
        clock.now += 1
    wait_s(own, 1, is_burst=True)
    return own


@pytest.mark.parametrize(
    ("load", "rate"),
    [
        (Load(demand=500, capacity=3000, busy=1), 500),
        (Load(demand=5000, capacity=3000, busy=2), 75),
        (Load(demand=5, capacity=0, busy=0), 0.5),
        (Load(demand=500, capacity=None, busy=None), 500),
    ],
)
def test_burst_takes_a_fifth_of_the_free_capacity(clock, load, rate):
    own = warm(clock, load)
    waits = [wait_s(own, 200, is_burst=True) for _ in range(1000)]
    assert waits[-1] - waits[0] == pytest.approx(999 * 200 / rate)


def test_other_changes_are_due_at_once_after_a_burst_as_far_as_there_is_capacity(clock):
    own = warm(clock, Load(demand=0, capacity=1000, busy=0))
    last_s = [wait_s(own, 200, is_burst=True) for _ in range(1000)][-1]
    assert [wait_s(own, 1, is_burst=False) for _ in range(100)] == [0] * 100
    clock.now += 1
    assert sum(wait_s(own, 1, is_burst=False) == 0 for _ in range(2 * AT_ONCE)) == AT_ONCE
    assert wait_s(own, 1, is_burst=False) > last_s
    clock.now += 2 * last_s
    assert wait_s(own, 200, is_burst=True) == 0


def test_rows_that_are_not_scheduled_or_due_before_take_no_place(clock):
    own = warm(clock, Load(demand=0, capacity=1000, busy=0))
    for _ in range(1000):
        own.begin(200, is_burst=True)
        own.wait_s(200)
        own.end(2)
    assert wait_s(own, 200, is_burst=True) < 12


def test_batches_of_one_round_trip_are_due_one_after_the_other_also_after_one_that_failed(clock):
    own = warm(clock, Load(demand=0, capacity=1000, busy=0))
    clock.now += 5
    for _ in range(10):
        own.begin(1000, is_burst=True)
        assert [own.wait_s(200) for _ in range(3)] == pytest.approx([0, 1, 2])
    own.end(400)
    own.begin(1000, is_burst=True)
    assert own.wait_s(200) == pytest.approx(2)


def test_burst_begins_slowly_and_is_slower_while_rows_are_late(clock):
    due = [0]
    own = Pace(lambda: Load(demand=0, capacity=1000, busy=0), lambda: due[0])
    rates = []

    def look():
        own.begin(200, is_burst=True)
        rates.append(own._rate)
        clock.now += 1

    for due[0] in (0, 0, 0, 0, 601, 601, 600, 600):
        look()
    assert rates == pytest.approx([50, 100, 200, 200, 100, 50, 56.25, 62.5])
    clock.now += 60
    look()
    assert rates[-1] == pytest.approx(50)


def test_changes_that_are_no_burst_wait_for_none_that_came_before_as_long_as_there_is_capacity(clock):
    own = Pace(lambda: Load(demand=500, capacity=1000, busy=1), lambda: 0)
    waits = []
    for _ in range(300 * 60):
        waits.append(wait_s(own, 1, is_burst=False))
        clock.now += 1 / 300
    assert max(waits) < 1, "200 a second are due at once, and 100 more soon"
