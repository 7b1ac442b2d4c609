"""A table's cache is dropped, whatever is scheduled or refreshed meanwhile."""

import pytest

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.claim import Changed
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.table import TableState
from rowcache_tasks.worker.whole_table import Cleared, drop_table

JSON = b'{"id":1}'
ROWS = [str(n) for n in range(1, 1501)]


def server_time(client):
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6


def nothing(*_):
    pass


@pytest.fixture
def state(client, schedule):
    return TableState(client, schedule.table)


@pytest.fixture
def drop(client, schedule, state):
    def drop(report=nothing, stamp=None):
        return drop_table(schedule, state, stamp or f"{server_time(client):.6f}", report)

    return drop


def test_every_row_and_value_is_removed_and_no_other_table_is_touched(schedule, client, drop):
    notes = Schedule(client, Table("note", "note", namespace="note"))
    for one in (schedule, notes):
        one.put_rows(dict.fromkeys(ROWS, (100, 0)))
        claim, _ = one.claim_rows(1000, 30)
        one.commit_rows(claim, dict.fromkeys(claim.row_ids, JSON))
    client.zadd("refreshed:", {"evicted": 1})
    client.set("inv:evicted", JSON)
    assert drop() == Cleared(dropped=1501, kept=0)
    left = {key.decode().split(":")[0] for key in client.keys("*") if not key.endswith(b"note") and b"note:" not in key}
    assert left <= {"state", "stats", "wake", "queue"}
    assert client.zcard("schedule:note") == 1500
    assert len(client.keys("note:*")) == 1000


def test_rows_scheduled_after_it_was_enqueued_stay_and_those_before_go(schedule, client, drop):
    schedule.put_rows({"before": (100, 0)})
    stamp = f"{server_time(client):.6f}"
    schedule.put_rows({"after": (100, 0)})
    assert drop(stamp=stamp) == Cleared(dropped=1, kept=1)
    assert client.zrange("schedule:", 0, -1) == [b"after"]


def test_row_scheduled_while_it_runs_stays(schedule, client, drop):
    schedule.put_rows(dict.fromkeys(ROWS, (100, 0)))
    again = iter(["1", "new", "750"])

    def report(dropped, kept):
        row_id = next(again, None)
        if row_id:
            schedule.put_rows({row_id: (7, 0)})

    drop(report)
    assert client.zrange("delay:", 0, -1, withscores=True) == [(b"1", 7), (b"750", 7), (b"new", 7)]
    assert client.zcard("schedule:") == 3


def test_refresh_in_flight_does_not_bring_a_row_back(schedule, client, drop):
    schedule.put_rows(dict.fromkeys(ROWS, (100, 0)))
    claim, _ = schedule.claim_rows(1000, 30)
    drop(lambda *_: schedule.commit_rows(claim, dict.fromkeys(claim.row_ids, JSON)))
    assert schedule.commit_rows(claim, dict.fromkeys(claim.row_ids, JSON)).dropped == 1000
    assert client.exists("schedule:", "delay:", "refreshed:") == 0
    assert client.keys("inv:*") == []


def test_change_enqueued_before_it_that_arrives_after_it_schedules_nothing(schedule, client, drop):
    """Also of a row that was not there when the table was dropped."""
    before = f"{server_time(client):.6f}"
    stamp = f"{server_time(client):.6f}"
    assert drop(stamp=stamp) == Cleared(0, 0)
    assert schedule.put_rows({"1": (100, 0)}, before) == Changed(0, 1)
    assert schedule.put_rows({"1": (100, 0)}, stamp) == Changed(1, 0)


def test_older_drop_that_arrives_late_takes_nothing_away_that_is_newer(schedule, client, drop):
    old = f"{server_time(client):.6f}"
    drop()
    schedule.put_rows({"1": (100, 0)})
    assert drop(stamp=old) == Cleared(0, 1)
    assert float(client.hget("state:", "dropped_at")) > float(old)


def test_it_leaves_no_memory_behind(schedule, client, drop):
    schedule.put_rows({"1": (100, 0)})
    schedule.drop_rows([f"gone {n}" for n in range(5000)])
    drop()
    assert client.zcard("changed:") == 0


def test_it_can_be_interrupted_and_repeated(schedule, client, drop):
    schedule.put_rows(dict.fromkeys(ROWS, (100, 0)))

    def interrupt(dropped, kept):
        if dropped >= 400:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drop(interrupt)
    left = client.zcard("schedule:")
    assert 0 < left < 1500
    assert drop().dropped == left
    assert client.zcard("schedule:") == client.zcard("delay:") == 0


def test_state_of_another_type_does_not_keep_rows_from_being_dropped(schedule, client, drop):
    client.set("state:", "hostile")
    schedule.put_rows({"1": (100, 0)})
    before = f"{server_time(client):.6f}"
    assert drop() == Cleared(1, 0)
    assert schedule.put_rows({"1": (100, 0)}, before) == Changed(0, 1), "of the rows that were there, it is known"


@pytest.mark.parametrize("noted", ["nan", "inf", "", "x", "9e99", "-1"])
def test_nonsense_in_the_state_does_not_keep_rows_from_being_scheduled(schedule, client, noted):
    client.hset("state:", "dropped_at", noted)
    assert schedule.put_rows({"1": (100, 0)}) == Changed(1, 0)


def test_change_enqueued_before_it_that_arrives_with_its_first_rows_schedules_nothing(schedule, client, state):
    """The last key of the walk has the only row: nothing looks at the others again."""
    earlier, stamp = f"{server_time(client) - 1:.6f}", f"{server_time(client):.6f}"
    client.zadd("refreshed:", {"evicted": 1})

    class LateChange(Schedule):
        def drop_rows(self, row_ids, stamp=""):
            self.put_rows({"late": (100, 0)}, earlier)
            return super().drop_rows(row_ids, stamp)

    drop_table(LateChange(client, schedule.table), state, stamp, nothing)
    assert not client.exists("schedule:", "delay:")
