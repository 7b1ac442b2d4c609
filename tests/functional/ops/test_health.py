import pytest

from rowcache_tasks.config.settings import Table, parse_settings
from rowcache_tasks.ops.overview import Overview
from rowcache_tasks.ops.snapshot import Snapshot, is_halted, read_snapshots
from rowcache_tasks.schedule.rows import Backoff

INV = Table("inv", "inventory")


def commit(schedule, *row_ids, delay=5):
    schedule.put_rows(dict.fromkeys(row_ids, (delay, 0)))
    schedule.commit_rows(schedule.claim_rows(10, 30)[0], dict.fromkeys(row_ids, b"{}"))


def age(client, seconds, *row_ids):
    """Let everything that happened to the rows have happened so many seconds earlier."""
    client.hincrbyfloat("state:", "committed_at", -seconds)
    for row_id in row_ids:
        for key in ("refreshed:", "changed:", "schedule:"):
            client.zincrby(key, -seconds, row_id)


def stalled(client, limit_s=30):
    return [health.table for health in read_snapshots(client, [INV], 30) if health.is_stalled(limit_s)]


def test_table_without_rows_is_healthy(client):
    (health,) = read_snapshots(client, [INV], 30)
    assert (health.waiting_s, health.silent_s) == (0, None)
    assert not health.is_stalled(0)
    assert health.describe() == "inv: no row waits, no commit is known"


def test_rows_refreshed_in_time_are_healthy(client, schedule):
    commit(schedule, "1", "2")
    (health,) = read_snapshots(client, [INV], 30)
    assert health.waiting_s == 0
    assert 0 <= health.silent_s < 60
    assert not health.is_stalled(60)


def test_overdue_rows_and_no_commit_for_as_long_is_a_stall(client, schedule):
    commit(schedule, "1")
    age(client, 100, "1")
    (health,) = read_snapshots(client, [INV], 30)
    assert 90 < health.waiting_s < 100 < health.silent_s
    assert health.is_stalled(30)
    assert not health.is_stalled(1000)


def test_overdue_rows_while_others_are_committed_are_no_stall(client, schedule):
    commit(schedule, "1")
    age(client, 100, "1")
    commit(schedule, "2")
    assert stalled(client) == []


def test_rows_that_were_never_committed_stall_too(client, schedule):
    schedule.put_rows({"1": (5, -100)})
    assert stalled(client) == ["inv"]


def test_rows_claimed_over_and_over_and_never_committed_are_a_stall(client, schedule):
    commit(schedule, "1")
    age(client, 100, "1")
    schedule.claim_rows(10, 30)
    assert client.zcount("schedule:", "-inf", schedule.claim_rows(10, 30)[0].claimed_at) == 0, "nothing looks overdue"
    assert stalled(client) == ["inv"]


def test_no_commit_for_long_is_healthy_while_no_row_is_due(client, schedule):
    commit(schedule, "1", delay=3600)
    age(client, 100, "1")
    assert stalled(client) == []


def test_rows_that_were_rescheduled_for_later_are_not_due_by_their_old_delay(client, schedule):
    commit(schedule, "1", "2", delay=100)
    age(client, 95, "1", "2")
    schedule.put_rows({"1": (100, 90), "2": (100, 10)})
    client.zincrby("refreshed:", -50, "1")
    client.zincrby("refreshed:", -50, "2")
    (health,) = read_snapshots(client, [INV], 30)
    assert health.waiting_s == 0


def test_rows_that_a_foreign_client_schedules_for_later_are_not_due(client, schedule):
    commit(schedule, "1")
    age(client, 100, "1")
    client.zadd("schedule:", {"1": client.time()[0] + 3600})
    assert stalled(client) == []


@pytest.mark.parametrize("outcome", ["failed", "missing"])
def test_failing_rows_wait_on_purpose(client, schedule, outcome):
    commit(schedule, "1")
    age(client, 100, "1")
    claim, _ = schedule.claim_rows(10, 30)
    if outcome == "failed":
        schedule.release_rows(claim, {"1": "database is down"}, Backoff())
    else:
        schedule.miss_rows(claim, ["1"], Backoff())
    assert stalled(client) == []


def test_rows_that_are_to_be_dropped_wait_only_from_when_they_are_due(client, schedule):
    commit(schedule, "1")
    age(client, 100, "1")
    now = schedule.claim_rows(10, 30)[0].claimed_at
    client.zadd("delay:", {"1": -1})
    client.zadd("schedule:", {"1": now})
    assert stalled(client) == []


def test_tables_are_judged_by_themselves(client, schedule):
    commit(schedule, "1")
    age(client, 100, "1")
    other = Table("users", "users", namespace="users")
    users, inv = read_snapshots(client, [other, INV], 30)
    assert (users.table, users.waiting_s) == ("users", 0)
    assert inv.is_stalled(30)


def test_a_row_may_wait_one_lease_and_at_least_ten_seconds():
    raw = {"rowcache_redis_url": "redis://localhost", "rowcache_tables": {"inv": {"table": "inventory"}}}
    for lease_s, longest_s in ((2, 10), (60, 60)):
        settings = parse_settings(raw | {"rowcache_lease": lease_s})
        assert Overview(0, {}, [], settings).max_overdue_s == longest_s


def test_commit_time_in_the_future_is_not_taken_for_a_commit_just_now(client, schedule):
    commit(schedule, "1")
    age(client, 100, "1")
    client.hset("state:", "committed_at", client.time()[0] + 3600)  # as after a clock that stepped back
    (health,) = read_snapshots(client, [INV], 30)
    assert health.silent_s is None
    assert health.is_stalled(30)
    assert health.describe().endswith(", no commit is known")


def test_refresh_in_the_future_does_not_hide_that_a_row_waits(client, schedule):
    commit(schedule, "1")
    age(client, 100, "1")
    client.zadd("refreshed:", {"1": client.time()[0] + 3600})
    assert stalled(client) == ["inv"]


def test_refreshing_is_halted_only_when_no_table_is_committed():
    late, busy, idle = Snapshot("late", 0, 100, 100), Snapshot("busy", 0, 0, 1), Snapshot("idle", 0, 0, None)
    assert is_halted([late], 30)
    assert is_halted([late, idle], 30)
    assert is_halted([Snapshot("new", 0, 100, None)], 30)
    assert not is_halted([late, busy], 30)
    assert not is_halted([late], 200)
    assert not is_halted([idle], 30)
    assert not is_halted([], 30)
