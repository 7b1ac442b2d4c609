"""Changed rows made due, those of a burst one batch after the other."""

import logging
from dataclasses import replace

import pytest
import redis
from support.scratch_database import ScratchDatabase
from support.waiting import wait_until

from rowcache_tasks.database.notification import Listener, NotifyingTable
from rowcache_tasks.schedule.load import Load
from rowcache_tasks.schedule.position import HEADER_BYTES
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.worker import backlog, pace, touches
from rowcache_tasks.worker.follow import LOOK_S, NotifyFollower, Outage, PollingFollower
from rowcache_tasks.worker.touches import Touches

LOAD = Load(demand=100, capacity=350, busy=0.5)
ROWS = [str(n) for n in range(2000)]


def seconds_until_due(client):
    seconds, microseconds = client.time()
    now = seconds + microseconds / 1e6
    return {int(row_id): score - now for row_id, score in client.zrange("schedule:", 0, -1, withscores=True)}


@pytest.fixture(autouse=True)
def full_pace(monkeypatch):
    monkeypatch.setattr(pace, "FIRST", 1)


@pytest.fixture
def changed(client, schedule):
    schedule.put_rows(dict.fromkeys(ROWS, (3600, 3600)))
    return Touches(client, schedule, lambda: LOAD)


@pytest.fixture
def due(client):
    return lambda: client.zcount("schedule:", "-inf", client.time()[0] + 1)


def test_burst_is_in_the_schedule_at_once_and_due_one_batch_after_the_other(changed, due, client, schedule):
    (began, _), (last,) = client.time(), ROWS[-1:]
    changed.note(ROWS[:-1])
    changed.flush()
    times = sorted(score for row_id, score in client.zrange("schedule:", 0, -1, withscores=True) if row_id != b"1999")
    assert times[800] > began + 2, "of 100 rows a second"
    assert times[1200] > began + 6
    assert times[-1] < client.time()[0] + 22
    changed.note([last])
    changed.flush()
    assert client.zscore("schedule:", last) < client.time()[0] + 1, "others are due at once"


def test_rows_that_are_due_slow_down_a_burst_and_claimed_ones_do_not(changed, schedule):
    changed.note(ROWS[:10])
    changed.flush()
    assert changed._count_due() == 10
    schedule.claim_rows(4, 60)
    assert changed._count_due() == 6


def test_follower_rests_until_the_last_rows_of_a_burst_are_due_soon(changed):
    changed.note(ROWS[:100])
    assert changed.flush() == 0
    changed.note(ROWS)
    assert 5 < changed.flush() <= 20 - touches.AHEAD_S


def test_rows_that_overtake_a_burst_are_due_while_the_follower_rests(changed, client):
    waits, resting = [], [True] * 5

    def changes(may_go_on):
        yield [("inv", ROWS[:1000])]
        while not may_go_on():
            waits.append(seconds_until_due(client)[1999])
            yield [("inv", ["1999"] if resting else [])]
            if not resting:
                return
            resting.pop()
        raise AssertionError("it goes on before the rows of the page are due")

    outages = Outage("the database"), Outage("Redis")
    follower = PollingFollower(changes, [changed], 1, outages)
    turns = [follower.turn() for _ in range(6)]
    assert max(turns) <= LOOK_S
    assert waits[0] > 3000
    assert waits[2] < 1


def test_source_whose_changes_nothing_overtakes_is_read_without_a_rest(changed):
    pages = [[("inv", ROWS[n : n + 500])] for n in range(0, 2000, 500)]
    follower = PollingFollower(lambda _: iter(pages), [changed], 1, (Outage("the slot"), Outage("Redis")))
    assert [follower.turn() for _ in pages] == [0] * len(pages)


def test_more_changes_than_fit_into_memory_are_counted_and_left_to_their_interval(changed, due, monkeypatch, caplog):
    monkeypatch.setattr(touches, "MAX_WAITING", 100)
    caplog.set_level(logging.WARNING)
    changed.note(ROWS)
    changed.note(ROWS[:100])
    changed.flush()
    assert due() == 100
    changed.flush()
    (line,) = caplog.messages
    assert line.startswith("rowcache_tables['inv']: 1,900 rows and 0 statements of many rows are left to the intervals")


def test_changed_rows_of_a_table_with_replicas_need_the_position_of_the_database(client, schedule):
    schedule.put_rows({"1": (3600, 3600)})
    located = Schedule(client, replace(schedule.table, replica=True))
    changed = Touches(client, located, lambda: LOAD, lambda: "1/0")
    changed.note(["1"])
    changed.flush()
    assert client.zscore("position:", "1") == 2**32 - HEADER_BYTES


@pytest.fixture
def open_follower(pg, client, schedule, monkeypatch):
    """Function that opens a follower by notifications of the table `inv`, whose rows 0 to 2999 are due in an hour.

    It does not wait until rows of a burst are due before it goes on.
    """
    monkeypatch.setattr(touches, "AHEAD_S", 600)
    pg.run(
        "CREATE TABLE inventory (id integer PRIMARY KEY, n integer)",
        "INSERT INTO inventory SELECT generate_series(0, 2999), 0",
    )
    schedule.put_rows(dict.fromkeys(map(str, range(3000)), (3600, 3600)))
    table = NotifyingTable(pg.engine(), schedule.table)
    pg.run(table.sql())
    listeners = []

    def open_follower():
        listeners.append(Listener(pg.engine(), [table]))
        listeners[-1].open()
        outages = Outage("the database"), Outage("Redis")
        return NotifyFollower(listeners[-1], [Touches(client, schedule, lambda: LOAD)], outages)

    yield open_follower
    for listener in listeners:
        listener.close()


@pytest.fixture
def in_parts(pg):
    """Function that changes the rows from 1 on in one transaction, with statements of so many rows."""

    def change(rows):
        statement = f"UPDATE inventory SET n = n + 1 WHERE id >= part AND id < part + {rows}"
        pg.run(f"DO $$ BEGIN FOR part IN 1..2999 BY {rows} LOOP {statement}; END LOOP; END $$")

    return change


def planned(client):
    return [row_id for row_id, wait_s in seconds_until_due(client).items() if row_id and wait_s < 1800]


@pytest.mark.parametrize("rows", [1, 100, 999])
def test_change_after_a_burst_of_notifications_is_due_before_the_burst(open_follower, in_parts, pg, client, rows):
    follower = open_follower()
    in_parts(rows)
    other = ScratchDatabase(pg.url)
    other.run("UPDATE inventory SET n = 1 WHERE id = 0")
    other.close()
    wait_until(lambda: follower.turn() or seconds_until_due(client)[0] < 0.5, "the other row is due", pause_s=0.001)
    wait_until(lambda: follower.turn() or len(planned(client)) == 2999, "all is in the schedule", pause_s=0.001)
    assert sum(wait_s > 10 for wait_s in seconds_until_due(client).values()) > 1000, "of 100 rows a second"


def test_change_after_a_burst_by_the_same_connection_is_due_among_the_first(open_follower, in_parts, pg, client):
    follower = open_follower()
    in_parts(100)
    pg.run("UPDATE inventory SET n = 1 WHERE id = 0")
    wait_until(lambda: follower.turn() or len(planned(client)) == 2999, "all is in the schedule", pause_s=0.001)
    assert seconds_until_due(client)[0] < 12
    assert max(wait_s for row_id, wait_s in seconds_until_due(client).items() if row_id) > 20


def test_follower_that_is_killed_amid_a_burst_leaves_the_rest_to_the_intervals(open_follower, in_parts, client):
    killed, other = open_follower(), open_follower()
    in_parts(100)
    wait_until(lambda: killed.turn() or planned(client), "a part is in the schedule", pause_s=0.001)
    killed._listener.close()
    found = seconds_until_due(client)
    assert len(found) == 3000
    assert max(found.values()) <= 3600
    wait_until(lambda: other.turn() or len(planned(client)) == 2999, "the other goes on", pause_s=0.001)


def test_two_followers_amid_a_burst_make_no_row_later(open_follower, in_parts, client):
    followers = [open_follower(), open_follower()]
    in_parts(100)
    before = dict.fromkeys(range(3000), 3600)

    def turn():
        nonlocal before
        for follower in followers:
            follower.turn()
        found = seconds_until_due(client)
        assert all(max(0, found[row_id]) <= max(0, before[row_id]) for row_id in before)
        before = found
        return not any(follower._backlog for follower in followers) and len(planned(client)) == 2999

    wait_until(turn, "all is in the schedule", pause_s=0.001)
    assert len(before) == 3000
    assert sum(wait_s > 10 for wait_s in before.values()) > 1000


def test_burst_that_does_not_fit_into_memory_while_redis_is_away_is_counted(
    open_follower, in_parts, client, monkeypatch, caplog
):
    monkeypatch.setattr(backlog, "MAX_LENGTH", 5000)
    caplog.set_level(logging.WARNING)
    follower = open_follower()
    (waiting,) = follower._touches.values()

    def refuse():
        raise redis.ConnectionError("refused")

    load, waiting._pace._load = waiting._pace._load, refuse
    in_parts(100)
    wait_until(lambda: follower.turn() or follower._backlog.is_full, "the burst waits", pause_s=0.001)
    in_parts(100)
    wait_until(lambda: follower.turn() or waiting._left, "some rows are left to the intervals", pause_s=0.001)
    waiting._pace._load = load
    wait_until(lambda: follower.turn() or not (follower._backlog or waiting._rows), "the others are due", pause_s=0.001)
    assert 0 < len(planned(client)) <= 2999
    in_parts(100)
    wait_until(lambda: follower.turn() or len(planned(client)) == 2999, "it goes on", pause_s=0.001)
    assert "Redis is away" in caplog.text
    assert "are left to the intervals: they changed too fast" in caplog.text
