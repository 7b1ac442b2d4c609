"""`state:` has the control state, `stats:` has counters: deleting `stats:` resets them and nothing else."""

from dataclasses import replace

import pytest

from rowcache_tasks.config.settings import Table
from rowcache_tasks.ops.snapshot import read_snapshots
from rowcache_tasks.reader.fill.scripts import FillScripts
from rowcache_tasks.reader.options import ReadThrough
from rowcache_tasks.schedule.claim import Changed
from rowcache_tasks.schedule.rows import Backoff
from rowcache_tasks.schedule.table import TableState

INV = Table("inv", "inventory")
JSON = b'{"id":1}'
COUNTERS = {"claimed", "refreshed", "unchanged", "superseded", "dropped", "missing", "failed", "filled"}


def server_time(client):
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6


FILL = FillScripts(INV, ReadThrough())


def begin_fill(client, row_id):
    (call,) = FILL.begin([row_id], b"t1", None)
    return FILL.read_begin([row_id], [call.run(client)])


def end_fill(client, begun, row_id):
    (call,) = FILL.end(b"t1", begun, {row_id: JSON}, None)
    return call.run(client)


@pytest.fixture
def state(client):
    return TableState(client, INV)


def test_paused_table_stays_paused(schedule, state, client):
    schedule.put_rows({"1": (100, 0)})
    state.pause_table(True)
    client.delete("stats:")
    assert schedule.claim_rows(10, 30)[0].row_ids == []
    assert read_snapshots(client, [INV], 30)[0].paused_s is not None


def test_pause_that_was_enqueued_before_a_resume_stays_ignored(schedule, state, client):
    before = f"{server_time(client):.6f}"
    state.pause_table(True)
    state.pause_table(False)
    client.delete("stats:")
    assert state.pause_table(True, before) is False


def test_change_from_before_a_drop_of_the_table_stays_ignored(schedule, state, client):
    before = f"{server_time(client):.6f}"
    state.drop_table(f"{server_time(client):.6f}")
    client.delete("stats:")
    assert schedule.put_rows({"1": (100, 0)}, before) == Changed(0, 1)
    assert not client.exists("schedule:")


def test_fill_from_before_a_drop_of_the_table_writes_nothing(state, client):
    begun = begin_fill(client, "1")
    state.drop_table(f"{server_time(client):.6f}")
    client.delete("stats:")
    assert end_fill(client, begun, "1") == [0, 1]
    assert not client.exists("inv:1")


def test_fill_that_outlasts_a_step_back_and_a_drop_of_the_table_writes_nothing(state, client):
    begun = begin_fill(client, "1")
    client.hincrbyfloat("state:", "clock", 3600)  # it began an hour later than the drop, by the clock of then
    state.drop_table(f"{server_time(client):.6f}")
    assert end_fill(client, replace(begun, began_at=f"{float(begun.began_at) + 3600:.6f}"), "1") == [0, 1]
    assert not client.exists("inv:1")


def test_step_back_of_the_clock_is_seen(schedule, client):
    schedule.check_clock()
    client.hset("state:", "clock", server_time(client) + 3600)
    client.delete("stats:")
    assert schedule.check_clock() is True


def test_last_commit_stays_known(schedule, client):
    schedule.put_rows({"1": (100, 0)})
    schedule.commit_rows(schedule.claim_rows(10, 30)[0], {"1": JSON})
    client.delete("stats:")
    assert read_snapshots(client, [INV], 30)[0].silent_s < 60
    assert read_snapshots(client, [INV], 30)[0].committed_at > server_time(client) - 60


def test_end_of_a_pause_stays_known(schedule, state, client):
    schedule.put_rows({"1": (100, -500)})
    state.pause_table(True)
    state.pause_table(False)
    client.delete("stats:")
    assert read_snapshots(client, [INV], 30)[0].waiting_s < 30


def test_value_that_may_expire_is_made_to_last_by_a_commit(schedule, client):
    assert end_fill(client, begin_fill(client, "1"), "1") == [1, 0]
    client.delete("stats:")
    schedule.put_rows({"1": (100, 0)})
    client.pexpire("inv:1", 60_000)
    assert schedule.commit_rows(schedule.claim_rows(10, 30)[0], {"1": JSON}).unchanged == 1
    assert client.pttl("inv:1") == -1


def test_all_scripts_together_leave_only_counters_in_the_statistics(schedule, state, client):
    schedule.put_rows({"1": (5, 0), "2": (5, 0), "3": (5, 0)})
    claim = schedule.claim_rows(10, 30)[0]
    schedule.commit_rows(claim, {"1": JSON})
    schedule.miss_rows(claim, ["2"], Backoff())
    schedule.release_rows(claim, {"3": "error"}, Backoff())
    schedule.touch_rows(["1"])
    schedule.commit_rows(schedule.lease_rows(["1"], 5), {"1": JSON})
    schedule.commit_rows(claim, {"1": JSON})
    schedule.drop_rows(["1", "2"])
    schedule.check_clock(is_settled=True)
    schedule.repair_rows(["3"], 30, Backoff())
    assert end_fill(client, begin_fill(client, "4"), "4") == [1, 0]
    state.pause_table(True)
    state.pause_table(False)
    state.drop_table(f"{server_time(client):.6f}")
    counted = {field.decode(): int(count) for field, count in client.hgetall("stats:").items()}
    assert {field for field in counted if not field.startswith("late")} == COUNTERS
    assert {field.decode() for field in client.hkeys("state:")} == {
        *("clock", "committed_at", "dropped_at", "pause_stamp", "resumed", "unleased_at", "wait_s", "work_s"),
    }
