"""A server whose clock steps: told from the times that it left behind, by moving all of them."""

from dataclasses import replace

import pytest
from support.script_calls import count_script_calls

from rowcache_tasks.dispatch.clock_repair import ClockRepair
from rowcache_tasks.schedule.rows import Backoff

HOUR = 3600
MOVE = """
for _, key in ipairs(KEYS) do
  local rows = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for i = 1, #rows, 2 do redis.call('ZADD', key, rows[i + 1] + ARGV[1], rows[i]) end
end
"""
TIMES = ["schedule:", "refreshed:", "changed:", "queue:"]


@pytest.fixture
def clock(schedule):
    clock = ClockRepair(schedule, 30, Backoff())
    clock.run()
    return clock


def step(client, seconds):
    """Move what the server has noted, as if its clock had made a step of so many seconds."""
    client.eval(MOVE, len(TIMES), *TIMES, -seconds)
    for field in ("clock", "committed_at"):
        noted = client.hget("state:", field)
        if noted:
            client.hset("state:", field, float(noted) - seconds)


def check_at_once(clock):
    clock._check_at = 0
    while clock.run():
        pass


def now(client):
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6


def commit(schedule, claim, value=b"{}"):
    return schedule.commit_rows(claim, dict.fromkeys(claim.row_ids, value))


def test_step_back_starves_no_row_for_longer_than_one_interval(schedule, client, clock, caplog):
    schedule.put_rows({str(n): (1000, 500) for n in range(2500)})
    step(client, -HOUR)
    check_at_once(clock)
    scores = [score - now(client) for _, score in client.zrange("schedule:", 0, -1, withscores=True)]
    assert len(scores) == 2500
    assert 900 < max(scores) <= 1000
    assert min(scores) < 100, "spread over the interval"
    assert "2500 rows of inv were due too late" in caplog.text


def test_repair_of_many_rows_lets_the_server_do_other_work_in_between(schedule, client):
    schedule.put_rows({str(n): (1000, 500) for n in range(1000)})
    step(client, -HOUR)
    with count_script_calls(client) as called:
        assert schedule.repair_rows([str(n) for n in range(1000)], 30, Backoff()) == 1000
    assert called == [5], "at most 200 rows a call"
    assert client.zcount("schedule:", "-inf", now(client) + 1000) == 1000


def test_old_changes_are_forgotten_although_no_other_follows(schedule, client, clock):
    schedule.put_rows({str(n): (1000, 500) for n in range(300)})
    client.zadd("changed:", {str(n): now(client) - 86401 for n in range(299)})
    check_at_once(clock)
    check_at_once(clock)
    assert client.zrange("changed:", 0, -1) == [b"299"]


def test_step_back_is_mended_once_by_whoever_sees_it(schedule, client, clock, caplog):
    schedule.put_rows({"1": (10, 5)})
    step(client, -HOUR)
    check_at_once(ClockRepair(schedule, 30, Backoff()))
    caplog.clear()
    check_at_once(clock)
    assert caplog.text == ""


def test_clock_that_was_ahead_for_a_moment_is_noticed_by_the_claims_of_that_moment(schedule, client, clock):
    schedule.put_rows({"1": (10, 0)})
    step(client, HOUR)
    commit(schedule, schedule.claim_rows(10, 30)[0])
    step(client, -HOUR)
    check_at_once(clock)
    assert client.zscore("schedule:", "1") <= now(client) + 10
    assert float(client.hget("state:", "committed_at")) <= now(client)
    assert schedule.check_clock() is False


def test_repair_that_was_interrupted_begins_anew(schedule, client, clock):
    schedule.put_rows({str(n): (10, 5) for n in range(3000)})
    step(client, -HOUR)
    clock._check_at = 0
    assert clock.run(), "there is more to repair, and this process dies"
    check_at_once(ClockRepair(schedule, 30, Backoff()))
    assert client.zcount("schedule:", now(client) + 10, "+inf") == 0


def test_rows_that_may_be_due_so_late_are_left_alone(schedule, client, clock):
    schedule.put_rows({"daily": (86400, 80000), "claimed": (1, 0), "never": (10, 0), "once": (10, 0), "bad": (1, 0)})
    client.zadd("delay:", {"once": "inf"})
    claim, _ = schedule.claim_rows(10, 30)
    schedule.release_rows(claim, {"bad": "no"}, Backoff(base_s=60))
    client.zadd("schedule:", {"never": "inf", "once": "inf"})
    before = client.zrange("schedule:", 0, -1, withscores=True)
    client.hset("state:", "clock", now(client) + HOUR)
    check_at_once(clock)
    assert client.zrange("schedule:", 0, -1, withscores=True) == before


def test_row_that_is_to_be_dropped_is_due_at_once_after_a_step_back(schedule, client, clock):
    client.zadd("schedule:", {"1": now(client)})
    step(client, -HOUR)
    check_at_once(clock)
    schedule.claim_rows(10, 30)
    assert client.zcard("schedule:") == 0


def test_refresh_in_flight_over_a_step_back_is_not_written_and_the_row_is_not_lost(schedule, client, clock):
    schedule.put_rows({"1": (10, 0)})
    claim, _ = schedule.claim_rows(10, 30)
    commit(schedule, claim, b"1")
    schedule.touch_rows(["1"])
    claim, _ = schedule.claim_rows(10, 30)
    step(client, -HOUR)
    ahead = [format(float(time) + HOUR, ".17g") for time in (claim.claimed_at, claim.lease_until)]
    in_flight = replace(claim, claimed_at=ahead[0], lease_until=ahead[1])
    assert commit(schedule, in_flight, b"0").superseded == 1
    assert client.get("inv:1") == b"1"
    check_at_once(clock)
    client.zadd("schedule:", {"1": now(client)})
    claim, _ = schedule.claim_rows(10, 30)
    assert commit(schedule, claim, b"2").refreshed == 1, "the fence of the future does not hold it up"


def test_step_forward_makes_every_row_due_and_loses_none(schedule, client, clock):
    schedule.put_rows({str(n): (10, 0) for n in range(50)})
    commit(schedule, schedule.claim_rows(100, 30)[0])
    step(client, HOUR)
    check_at_once(clock)
    client.delete("queue:")
    claim, _ = schedule.claim_rows(100, 30)
    assert len(claim.row_ids) == 50
    assert commit(schedule, claim).unchanged == 50


def test_schedule_change_enqueued_after_a_step_back_is_applied(schedule, client):
    schedule.put_rows({"1": (10, 0)})
    step(client, -HOUR)
    assert schedule.drop_rows(["1"], str(now(client))).applied == 1
    step(client, -HOUR)
    assert schedule.put_rows({"1": (10, 0)}, str(now(client))).applied == 1


def test_clock_that_cannot_be_asked_raises_nothing_and_is_a_warning_once_an_outage(schedule, client, clock, caplog):
    for _ in range(2):
        client.delete("state:")
        client.set("state:", "a string where a hash belongs")
        for _ in range(3):
            clock._check_at = 0
            assert clock.run() is False
        client.delete("state:")
        check_at_once(clock)
    assert [record.message.split(":")[0] for record in caplog.records] == ["clock_unknown"] * 2


@pytest.mark.parametrize("nonsense", ["soon", "nan", "-inf", "1e999", "-1"])
@pytest.mark.parametrize("field", ["clock", "committed_at"])
def test_nonsense_where_the_time_belongs_is_replaced(schedule, client, clock, nonsense, field):
    client.hset("state:", field, nonsense)
    check_at_once(clock)
    assert schedule.check_clock() is False
    assert now(client) - 60 < float(client.hget("state:", "clock")) <= now(client)
