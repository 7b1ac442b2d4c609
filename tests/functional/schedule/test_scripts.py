"""What each script does, through its wrapper, on a real server. Time is tested by writing scores."""

import json
import threading
from dataclasses import replace

import pytest
from proof.interleaving.mutant import Mutant

from rowcache_tasks.config.settings import MAX_BATCH_SIZE, Table
from rowcache_tasks.schedule.claim import Changed, Committed, Missed
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Backoff, Schedule

BACKOFF = Backoff(base_s=1, max_s=60)
JSON = b'{"id":1}'


def server_time(client):
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6


def claim_all(schedule, limit=10, lease_s=30):
    return schedule.claim_rows(limit, lease_s)[0]


def cache(schedule, row_id, value=JSON):
    schedule.put_rows({row_id: (100, 0)})
    assert schedule.commit_rows(claim_all(schedule), {row_id: value}).refreshed == 1


# claim


def test_due_rows_are_claimed_earliest_first_up_to_the_limit(schedule, client):
    client.zadd("delay:", {"a": 5, "b": 5, "c": 5, "later": 5})
    now = server_time(client)
    client.zadd("schedule:", {"b": now - 20, "a": now - 10, "c": now - 5, "later": now + 100})
    assert claim_all(schedule, limit=2).row_ids == ["b", "a"]
    assert claim_all(schedule, limit=2).row_ids == ["c"]
    assert claim_all(schedule, limit=2).row_ids == []


def test_a_claimed_row_is_scored_with_the_end_of_its_lease_exactly(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    claim = claim_all(schedule, lease_s=12.25)
    assert client.zscore("schedule:", "1") == float(claim.lease_until)
    assert float(claim.lease_until) - float(claim.claimed_at) == pytest.approx(12.25, abs=1e-6)


def test_a_row_is_claimed_again_once_its_lease_has_ended(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    assert claim_all(schedule).row_ids == ["1"]
    assert claim_all(schedule).row_ids == []
    client.zadd("schedule:", {"1": server_time(client) - 0.001})
    assert claim_all(schedule).row_ids == ["1"]


def lease_of(schedule, client):
    """Claim with a lease of 5 to 30 s; return it, and how long the last commit is ago."""
    client.zadd("schedule:", {"1": 0})
    claim = schedule.claim_rows(10, 30, least_s=5)[0]
    return float(claim.lease_until) - float(claim.claimed_at), claim


@pytest.mark.parametrize(
    ("silent_s", "work_s", "lease_s"),
    [(0, 0.01, 5), (0, 3, 12), (0, 9, 30), (4, 0.01, 8), (100, 0.01, 30), (-50, 0.01, 30), (0, "?", 30), ("?", 1, 30)],
)
def test_lease_is_as_long_as_batches_of_the_table_take(schedule, client, silent_s, work_s, lease_s):
    schedule.put_rows({"1": (5, 0)})
    at = "?" if silent_s == "?" else repr(server_time(client) - silent_s)
    client.hset("state:", mapping={"committed_at": at, "work_s": work_s})
    assert lease_of(schedule, client)[0] == pytest.approx(lease_s, abs=0.5)


@pytest.mark.parametrize(("mark", "leases"), [("", (30, 24, 16, 5)), ("forget-slow-reads", (30, 24, 5, 5))])
def test_lease_is_the_longest_at_first_and_remembers_a_slow_read_for_minutes(schedule, client, mark, leases):
    if mark:
        schedule = Mutant("commit_rows", mark).schedule(client, schedule.table)
    schedule.put_rows({"1": (5, 0)})
    first_s, claim = lease_of(schedule, client)
    slow = replace(claim, claimed_at=repr(float(claim.claimed_at) - 6), read_ms=4000)
    assert schedule.commit_rows(slow, {"1": JSON}).refreshed == 1
    slow_s = lease_of(schedule, client)[0]
    for _ in range(50):
        schedule.commit_rows(lease_of(schedule, client)[1], {"1": JSON})
    fast_s, claim = lease_of(schedule, client)
    client.hset("state:", "committed_at", server_time(client) - 600)
    schedule.commit_rows(claim, {"1": JSON})
    found = (first_s, slow_s, fast_s, lease_of(schedule, client)[0])
    assert found == pytest.approx(leases, abs=1), "the wait is forgotten sooner"


@pytest.mark.parametrize(("mark", "lease_s"), [("", 16), ("forget-refused-reads", 5)])
def test_lease_follows_a_read_that_is_refused_as_too_long_ago(schedule, client, mark, lease_s):
    schedule.put_rows({"1": (5, 0), "2": (5, 0)})
    claim = claim_all(schedule)
    if mark:
        schedule = Mutant("commit_rows", mark).schedule(client, schedule.table)
    schedule.commit_rows(claim, {"2": JSON})
    assert schedule.commit_rows(replace(claim, read_ms=4000, commit_by=1.0), {"1": JSON}).superseded == 1
    assert lease_of(schedule, client)[0] == pytest.approx(lease_s, abs=0.5)


@pytest.mark.parametrize(("others_commit", "leases"), [(False, (5, 10, 30)), (True, (5, 5, 5, 5, 5, 5))])
def test_rows_of_the_first_slow_read_of_a_table_are_claimed_again_only_after_each_lease(
    schedule, client, others_commit, leases
):
    """As long as a SELECT may take, by default: the lease of a table whose reads were fast is the shortest."""
    cache(schedule, "1")
    found, elapsed_s = [], 0.0
    while elapsed_s < 30:
        client.hset("state:", "committed_at", server_time(client) - (0 if others_commit else elapsed_s))
        lease_s, claim = lease_of(schedule, client)
        assert schedule.claim_rows(10, 30, least_s=5)[0].row_ids == [], "not within the lease"
        assert claim.row_ids == ["1"]
        found.append(lease_s)
        elapsed_s += lease_s + 1e-3
    assert found == pytest.approx(leases, abs=0.5)


def test_lease_that_trusts_a_time_after_now_is_found(schedule, client):
    mutant = Mutant("claim_rows", "trust-future-work").schedule(client, schedule.table)
    mutant.put_rows({"1": (5, 0)})
    client.hset("state:", mapping={"committed_at": server_time(client) + 50, "work_s": 0.01})
    assert lease_of(mutant, client)[0] < 6


def test_claim_tells_the_next_due_time(schedule, client):
    assert schedule.claim_rows(10, 30)[1] is None
    client.zadd("delay:", {"a": 5})
    client.zadd("schedule:", {"a": 4102444800.123456})
    assert schedule.claim_rows(10, 30)[1] == 4102444800.123456


def test_claim_is_as_late_as_its_row_that_was_due_first(schedule, client):
    client.zadd("delay:", {"a": 5, "b": 5, "at once": 5})
    due = server_time(client) - 2
    client.zadd("schedule:", {"a": due, "b": due + 1, "dropped": due - 5, "at once": 0})
    claim = claim_all(schedule)
    assert sorted(claim.row_ids) == ["a", "at once", "b"]
    assert 2000 <= claim.late_ms <= 1000 * (server_time(client) - due)


def test_claim_of_rows_that_are_due_at_once_or_of_none_is_not_late(schedule, client):
    assert claim_all(schedule).late_ms == 0
    client.zadd("delay:", {"a": 5})
    client.zadd("schedule:", {"a": 0})
    assert claim_all(schedule).late_ms == 0


@pytest.mark.parametrize("delay", [None, 0, -1])
def test_row_without_delay_is_dropped_value_included(schedule, client, delay):
    schedule.put_rows({"1": (5, 0), "2": (5, 100)})
    schedule.commit_rows(claim_all(schedule), {"1": JSON})
    schedule.release_rows(claim_all(schedule), {"1": "error"}, BACKOFF)
    if delay is None:
        client.zrem("delay:", "1")
    else:
        client.zadd("delay:", {"1": delay})
    client.zadd("schedule:", {"1": server_time(client)})
    assert claim_all(schedule).row_ids == []
    assert client.exists("inv:1") == 0
    assert [client.zscore(key, "1") for key in ("schedule:", "delay:", "refreshed:")] == [None] * 3
    assert client.hget("failures:", "1") is None
    assert client.zscore("schedule:", "2") is not None


def test_claim_leaves_the_time_of_the_last_commit_alone(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    schedule.commit_rows(claim_all(schedule), {"1": JSON})
    committed_at = client.zscore("refreshed:", "1")
    schedule.touch_rows(["1"])
    assert claim_all(schedule).row_ids == ["1"]
    assert client.zscore("refreshed:", "1") == committed_at


def test_fence_in_the_future_is_repaired_by_a_claim(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    client.zadd("refreshed:", {"1": server_time(client) + 3600})
    assert schedule.commit_rows(claim_all(schedule), {"1": JSON}).refreshed == 1


def test_eight_claimers_never_get_a_row_twice(schedule, client, valkey):
    count = 20_000
    schedule.put_rows({str(n): (100, 0) for n in range(count)})
    claimed = [[] for _ in range(8)]

    def work(mine):
        own = Schedule(connect(valkey.url_for(9), "test"), Table("inv", "inventory"))
        while batch := claim_all(own, limit=97).row_ids:
            mine.extend(batch)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in claimed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(int(row) for mine in claimed for row in mine) == list(range(count))


def test_lease_rows_claims_rows_that_are_not_due_and_leaves_out_unscheduled_ones(schedule):
    schedule.put_rows({"1": (5, 100)})
    claim = schedule.lease_rows(["1", "2"], 30)
    assert claim.row_ids == ["1"]
    assert schedule.commit_rows(claim, {"1": JSON}).refreshed == 1


# commit


def test_commit_writes_the_value_and_schedules_from_the_claim_on(schedule, client):
    schedule.put_rows({"1": (7.125, 0)})
    claim = claim_all(schedule)
    assert schedule.commit_rows(claim, {"1": JSON}) == Committed(refreshed=1)
    assert client.get("inv:1") == JSON
    assert client.zscore("schedule:", "1") == float(claim.claimed_at) + 7.125
    assert float(claim.claimed_at) <= client.zscore("refreshed:", "1") <= server_time(client)


def test_unchanged_value_is_not_written_again(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    schedule.commit_rows(claim_all(schedule), {"1": JSON})
    before = client.zscore("refreshed:", "1")
    schedule.touch_rows(["1"])
    writes = client.info("commandstats")["cmdstat_mset"]["calls"]
    assert schedule.commit_rows(claim_all(schedule), {"1": JSON}) == Committed(unchanged=1)
    assert client.info("commandstats")["cmdstat_mset"]["calls"] == writes
    assert client.zscore("refreshed:", "1") > before


def test_value_read_before_a_later_commit_is_not_written(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    slow = claim_all(schedule)
    schedule.touch_rows(["1"])
    schedule.commit_rows(claim_all(schedule), {"1": b'{"v":2}'})
    assert schedule.commit_rows(slow, {"1": b'{"v":1}'}) == Committed(superseded=1)
    assert client.get("inv:1") == b'{"v":2}'


def test_superseded_row_that_still_holds_its_lease_is_due_at_once(schedule, client):
    cache(schedule, "1")
    schedule.touch_rows(["1"])
    first = claim_all(schedule)
    schedule.touch_rows(["1"])
    second = claim_all(schedule)
    schedule.commit_rows(first, {"1": b'{"v":1}'})
    assert schedule.commit_rows(second, {"1": b'{"v":2}'}) == Committed(superseded=1)
    assert claim_all(schedule).row_ids == ["1"]


def test_reschedule_during_a_refresh_stands(schedule, client):
    cache(schedule, "1", b"{}")
    schedule.touch_rows(["1"])
    claim = claim_all(schedule)
    schedule.touch_rows(["1"])
    assert schedule.commit_rows(claim, {"1": JSON}).refreshed == 1
    assert claim_all(schedule).row_ids == ["1"]


def test_new_row_that_is_rescheduled_during_each_refresh_is_refused_once(schedule, client):
    schedule.put_rows({"1": (100, 0)})
    outcomes = []
    for _ in range(3):
        claim = claim_all(schedule)
        schedule.touch_rows(["1"])
        outcomes.append(schedule.commit_rows(claim, {"1": JSON}))
    assert outcomes == [Committed(superseded=1), Committed(refreshed=1), Committed(unchanged=1)]


@pytest.mark.parametrize("script", ["", "commit_rows", "miss_rows"])
def test_first_refresh_of_a_row_is_accepted_although_another_row_was_written_without_a_lease(schedule, client, script):
    mutant = Mutant(script, "refuse-first").schedule(client, schedule.table) if script else schedule
    cache(schedule, "other")
    schedule.touch_rows(["other"])
    overtaken = claim_all(schedule)
    schedule.touch_rows(["other"])
    schedule.put_rows({"1": (100, 0), "2": (100, 0)})
    claim = claim_all(schedule)
    schedule.commit_rows(overtaken, {"other": JSON})
    found, missed = mutant.commit_rows(claim, {"1": JSON}), mutant.miss_rows(claim, ["2"], BACKOFF)
    expected = [Committed(refreshed=1), Missed(missing=1)]
    if script:
        expected[script == "miss_rows"] = Missed(superseded=1) if script == "miss_rows" else Committed(superseded=1)
    assert [found, missed] == expected


@pytest.mark.parametrize("script", ["", "commit_rows", "miss_rows"])
def test_row_whose_read_began_too_long_ago_is_not_written_and_due_now(schedule, client, script):
    mutant = Mutant(script, "write-late").schedule(client, schedule.table) if script else schedule
    schedule.put_rows({"1": (100, 0), "2": (100, 0)})
    claim = claim_all(schedule)
    late = replace(claim, commit_by=float(claim.claimed_at))
    found, missed = mutant.commit_rows(late, {"1": JSON}), mutant.miss_rows(late, ["2"], BACKOFF)
    assert (found.superseded, missed.superseded) == (script != "commit_rows", script != "miss_rows")
    if not script:
        assert client.keys("inv:*") == []
        assert sorted(claim_all(schedule).row_ids) == ["1", "2"]


@pytest.mark.parametrize("mark", ["", "no-bound", "no-margin"])
def test_row_with_a_promise_is_due_earlier_by_its_lateness(client, mark):
    table = Table("inv", "inventory", max_staleness_s=400, target=0.9)
    script = Mutant("commit_rows", mark).schedule(client, table) if mark else Schedule(client, table)
    script.put_rows({"1": (1000, 0), "2": (8, 0)})
    claim = replace(claim_all(script), late_ms=50_000)
    assert script.commit_rows(claim, {"1": JSON, "2": JSON}).refreshed == 2
    wait_s = [client.zscore("schedule:", row_id) - float(claim.claimed_at) for row_id in ("1", "2")]
    is_earlier = [370 < wait_s[0] <= 375, wait_s[1] == pytest.approx(6)]
    assert is_earlier == [not mark, mark != "no-margin"], "by that of a mean row, but by no more than a quarter"
    client.hset("state:", "committed_at", client.time()[0] - 30)
    script.touch_rows(["1"])
    claim = claim_all(script)
    script.commit_rows(claim, {"1": JSON})
    wait_s = client.zscore("schedule:", "1") - float(claim.claimed_at)
    assert (383 < wait_s < 390) == (not mark), "the margin is halved after half a minute"


@pytest.mark.parametrize(
    ("beginning", "outcome"),
    [
        (b'{"at":1,', Committed(unchanged=1)),
        (b'{"at":2,', Committed(superseded=1)),
        (b'{"at":1,"name":"x"}zzzzz,', Committed(superseded=1)),
    ],
)
def test_beginning_of_a_value_is_compared_and_never_written(schedule, client, beginning, outcome):
    value = b'{"at":1,"name":"x"}'
    cache(schedule, "1", value)
    schedule.touch_rows(["1"])
    claim = claim_all(schedule)
    assert schedule.commit_rows(claim, {"1": beginning}) == outcome
    assert client.get("inv:1") == value
    assert claim_all(schedule).row_ids == ["1"] * outcome.superseded


def test_beginning_of_a_value_that_is_not_cached_or_of_another_type_is_refused(schedule, client):
    schedule.put_rows({"1": (100, 0), "2": (100, 0), "3": (100, 0)})
    client.hset("inv:2", "a", 1)
    values = {"1": b'{"at":1,', "2": b'{"at":1,', "3": JSON}
    assert schedule.commit_rows(claim_all(schedule), values) == Committed(refreshed=1, superseded=2)
    assert client.get("inv:1") is None


def test_beginning_that_is_written_is_found(schedule, client):
    mutant = Mutant("commit_rows", "write-beginning").schedule(client, schedule.table)
    cache(schedule, "1")
    schedule.touch_rows(["1"])
    assert mutant.commit_rows(claim_all(schedule), {"1": b'{"at":2,'}).refreshed == 1


def test_commit_after_which_the_row_is_due_when_its_lease_ends_does_not_look_held(schedule, client):
    schedule.put_rows({"1": (30, 0)})
    claim = claim_all(schedule, lease_s=30)
    assert schedule.commit_rows(claim, {"1": JSON}).refreshed == 1
    assert client.zscore("schedule:", "1") != float(claim.lease_until)
    assert schedule.commit_rows(claim, {"1": b"{}"}) == Committed(superseded=1), "a second delivery"


def test_rows_are_held_although_some_of_their_batch_are_not_committed(schedule, client):
    rows = [str(n) for n in range(10)]
    schedule.put_rows(dict.fromkeys(rows, (100, 0)))
    claim = claim_all(schedule)
    assert schedule.commit_rows(claim, dict.fromkeys(rows[3:7], JSON)).refreshed == 4
    assert schedule.commit_rows(claim, dict.fromkeys(rows, JSON)) == Committed(refreshed=6, superseded=4)


def test_dropped_row_is_not_written_back(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    claim = claim_all(schedule)
    schedule.drop_rows(["1"])
    assert schedule.commit_rows(claim, {"1": JSON}) == Committed(dropped=1)
    assert client.exists("inv:1", "schedule:", "delay:", "refreshed:") == 0


def test_row_unscheduled_by_a_foreign_client_during_a_refresh_is_removed_by_the_next_claim(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    schedule.commit_rows(claim_all(schedule), {"1": JSON})
    schedule.touch_rows(["1"])
    claim = claim_all(schedule)
    client.zadd("delay:", {"1": -1})
    assert schedule.commit_rows(claim, {"1": b'{"v":2}'}) == Committed(dropped=1)
    claim_all(schedule)
    assert client.exists("inv:1", "schedule:", "delay:") == 0


def test_refresh_from_before_a_drop_is_not_written_after_the_row_is_scheduled_again(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    before = claim_all(schedule)
    schedule.drop_rows(["1"])
    schedule.put_rows({"1": (5, 0)})
    assert schedule.commit_rows(before, {"1": b'{"v":1}'}).superseded == 1
    assert client.get("inv:1") is None


def test_commit_with_ttl_lets_the_value_vanish_and_renews_it(client):
    schedule = Schedule(client, Table("inv", "inventory", ttl_s=50))
    schedule.put_rows({"1": (5, 0)})
    schedule.commit_rows(claim_all(schedule), {"1": JSON})
    assert 0 < client.pttl("inv:1") <= 50_000
    client.pexpire("inv:1", 10_000)
    schedule.touch_rows(["1"])
    assert schedule.commit_rows(claim_all(schedule), {"1": JSON}).unchanged == 1
    assert client.pttl("inv:1") > 10_000


def test_commit_counts_all_rows_in_one_class_of_lateness(schedule, client):
    client.zadd("delay:", {"a": 5, "b": 5})
    client.zadd("schedule:", {"a": server_time(client) - 10, "b": server_time(client)})
    schedule.commit_rows(claim_all(schedule), {"a": JSON, "b": JSON})
    ((field, count),) = [(field, n) for field, n in client.hgetall("stats:").items() if field.startswith(b"late:")]
    assert 10_000 <= 2 ** (int(field[5:]) / 4) <= 16_000
    assert count == b"2"


# missing, failing


def test_missing_row_loses_its_value_and_is_retried_with_backoff(schedule, client):
    schedule.put_rows({"1": (100, 0)})
    schedule.commit_rows(claim_all(schedule), {"1": JSON})
    schedule.touch_rows(["1"])
    claim, before = claim_all(schedule), server_time(client)
    assert schedule.miss_rows(claim, ["1"], BACKOFF) == Missed(missing=1, superseded=0, dropped=0)
    assert client.get("inv:1") is None
    assert before + 0.4 < client.zscore("schedule:", "1") <= server_time(client) + 1
    assert json.loads(client.hget("failures:", "1"))["missing"] == 1


def test_many_missing_rows_are_retried_a_thousand_a_second(schedule, client):
    client.hset("failures:", mapping={f"no {n}": "{}" for n in range(40_000)})
    schedule.put_rows({"1": (100, 0)})
    claim = claim_all(schedule)
    schedule.miss_rows(claim, ["1"], BACKOFF)
    assert 20 <= client.zscore("schedule:", "1") - float(claim.claimed_at) <= 60


def test_missing_row_is_dropped_at_the_limit(client):
    schedule = Schedule(client, Table("inv", "inventory", missing_limit=3))
    schedule.put_rows({"1": (100, 0)})
    dropped = []
    for _ in range(3):
        client.zadd("schedule:", {"1": 0})
        dropped.append(schedule.miss_rows(claim_all(schedule), ["1"], BACKOFF).dropped)
    assert dropped == [0, 0, 1]
    assert client.exists("schedule:", "delay:", "refreshed:", "failures:") == 0


def test_absence_read_before_a_later_commit_does_not_remove_the_value(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    slow = claim_all(schedule)
    schedule.touch_rows(["1"])
    schedule.commit_rows(claim_all(schedule), {"1": JSON})
    assert schedule.miss_rows(slow, ["1"], BACKOFF).superseded == 1
    assert client.get("inv:1") == JSON


def test_value_read_before_the_row_was_found_missing_is_not_written(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    slow = claim_all(schedule)
    schedule.touch_rows(["1"])
    schedule.miss_rows(claim_all(schedule), ["1"], BACKOFF)
    assert schedule.commit_rows(slow, {"1": JSON}).superseded == 1
    assert client.get("inv:1") is None


def test_failing_row_keeps_its_value_and_backs_off_exponentially_up_to_the_maximum(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    schedule.commit_rows(claim_all(schedule), {"1": JSON})
    pauses = []
    for _ in range(9):
        client.zadd("schedule:", {"1": 0})
        claim, before = claim_all(schedule), server_time(client)
        assert schedule.release_rows(claim, {"1": "column price holds NaN"}, BACKOFF) == 1
        due = client.zscore("schedule:", "1")
        pauses.append((due - before, due - server_time(client)))
    for n, (longest, shortest) in enumerate(pauses):
        full = min(60, 2**n)
        assert longest > full / 2 - 0.1
        assert shortest <= full
    record = json.loads(client.hget("failures:", "1"))
    assert (record["failures"], record["error"]) == (9, "column price holds NaN")
    assert client.get("inv:1") == JSON


def test_failures_are_forgotten_after_a_success(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    schedule.release_rows(claim_all(schedule), {"1": "error"}, BACKOFF)
    schedule.touch_rows(["1"])
    schedule.commit_rows(claim_all(schedule), {"1": JSON})
    assert client.exists("failures:") == 0


def test_rows_handed_back_are_due_at_once_and_not_counted_as_failures(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    assert schedule.release_rows(claim_all(schedule), {"1": ""}, BACKOFF) == 1
    assert claim_all(schedule).row_ids == ["1"]
    assert client.exists("failures:") == 0


def test_release_leaves_a_row_alone_that_was_rescheduled_since(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    claim = claim_all(schedule)
    schedule.touch_rows(["1"])
    assert schedule.release_rows(claim, {"1": "error"}, BACKOFF) == 0
    assert claim_all(schedule).row_ids == ["1"]
    assert client.exists("failures:") == 0


def test_foreign_nonsense_in_failures_does_not_stop_a_release(schedule, client):
    schedule.put_rows({"1": (5, 0), "2": (5, 0)})
    nonsense = {"1": "not json", "2": '{"failures":null}', "3": "5", "4": '{"failures":"x"}'}
    schedule.put_rows(dict.fromkeys(nonsense, (5, 0)))
    client.hset("failures:", mapping=nonsense)
    assert schedule.release_rows(claim_all(schedule), dict.fromkeys(nonsense, "error"), BACKOFF) == 4
    client.zadd("schedule:", dict.fromkeys(nonsense, 0))
    client.hset("failures:", mapping=nonsense)
    assert schedule.miss_rows(claim_all(schedule), list(nonsense), BACKOFF).missing == 4


# changes


def test_put_makes_a_row_due_after_its_offset_and_wakes_a_dispatcher_when_due_now(schedule, client):
    before = server_time(client)
    schedule.put_rows({"later": (5, 50)})
    assert client.llen("wake:") == 0
    schedule.put_rows({"now": (5, 0)})
    assert client.llen("wake:") == 1
    assert before + 49 < client.zscore("schedule:", "later") <= server_time(client) + 50
    assert client.zscore("delay:", "now") == 5


def test_commit_that_is_refused_wakes_a_dispatcher_for_the_row_that_is_due_at_once(schedule, client):
    schedule.put_rows({"1": (100, 0)})
    older, _ = schedule.claim_rows(10, 0)
    newer, _ = schedule.claim_rows(10, 30)
    schedule.commit_rows(newer, {"1": b"{}"})
    client.delete("wake:")
    assert schedule.commit_rows(older, {"1": b"{}"}).superseded == 1
    assert client.llen("wake:") == 1


def test_wake_list_stays_short(schedule, client):
    for n in range(20):
        schedule.put_rows({str(n): (5, 0)})
    schedule.touch_rows(["1"])
    assert client.llen("wake:") <= 4


@pytest.mark.parametrize("first", ["put", "drop"])
def test_change_enqueued_earlier_is_ignored(schedule, client, first):
    older, newer = f"{server_time(client) - 2:.6f}", f"{server_time(client) - 1:.6f}"
    changes = {
        "put": lambda stamp: schedule.put_rows({"1": (5, 0)}, stamp),
        "drop": lambda stamp: schedule.drop_rows(["1"], stamp),
    }
    second = "drop" if first == "put" else "put"
    assert changes[second](newer) == Changed(1, 0)
    assert changes[first](older) == Changed(0, 1)
    assert client.zscore("delay:", "1") == (5 if second == "put" else None)


def test_change_from_a_clock_that_was_ahead_does_not_block_later_ones(schedule, client):
    schedule.put_rows({"1": (5, 0)}, f"{server_time(client) + 3600:.6f}")
    assert schedule.drop_rows(["1"]) == Changed(1, 0)


def test_changes_older_than_a_day_are_trimmed(schedule, client):
    client.zadd("changed:", {"old": server_time(client) - 90_000, "recent": server_time(client) - 80_000})
    schedule.put_rows({"1": (5, 0)})
    assert sorted(client.zrange("changed:", 0, -1)) == [b"1", b"recent"]


def test_a_call_trims_no_more_old_changes_than_it_takes_rows_and_a_little(schedule, client):
    client.zadd("changed:", {f"old{n}": server_time(client) - 90_000 for n in range(1000)})
    schedule.put_rows({"1": (5, 0)})
    assert client.zcard("changed:") == 751
    schedule.drop_rows(["1"])
    assert client.zcard("changed:") == 501


def test_touch_leaves_unscheduled_rows_alone(schedule, client):
    schedule.put_rows({"1": (5, 100)})
    assert schedule.touch_rows(["1", "2"]) == 1
    assert claim_all(schedule).row_ids == ["1"]
    assert client.zscore("schedule:", "2") is None


def test_touch_that_lets_rows_wait_makes_none_later_and_a_claimed_one_due_at_the_end_of_its_lease(schedule, client):
    cache(schedule, "held")
    schedule.put_rows({"far": (3600, 3600), "near": (60, 60), "held": (3600, 0)})
    claim, near, before = claim_all(schedule), client.zscore("schedule:", "near"), server_time(client)
    assert schedule.touch_rows(["far", "near", "held", "none"], lambda _: 600) == 1
    assert before + 600 <= client.zscore("schedule:", "far") <= server_time(client) + 600
    assert client.zscore("schedule:", "near") == pytest.approx(near, abs=1e-5)
    assert schedule.commit_rows(claim, {"held": JSON}).unchanged == 1
    assert client.zscore("schedule:", "held") < float(claim.lease_until), "it may have been read before it changed"


def test_put_clears_the_failures_of_a_row(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    schedule.release_rows(claim_all(schedule), {"1": "error"}, BACKOFF)
    schedule.put_rows({"1": (5, 0)})
    assert client.exists("failures:") == 0


@pytest.fixture
def full_server(client):
    """Make the server refuse whatever needs memory."""
    yield lambda: client.config_set("maxmemory", 1)
    client.config_set("maxmemory", 0)


def test_rows_can_be_unscheduled_when_the_server_is_full(schedule, client, full_server):
    schedule.put_rows({"1": (5, 0)})
    schedule.commit_rows(claim_all(schedule), {"1": JSON})
    full_server()
    assert schedule.drop_rows(["1"]).applied == 1
    assert client.exists("inv:1", "schedule:", "delay:") == 0


def test_rows_of_foreign_clients_are_dropped_when_the_server_is_full(schedule, client, full_server):
    schedule.put_rows({"1": (5, 0), "2": (5, 0)})
    schedule.commit_rows(claim_all(schedule), {"1": JSON, "2": JSON})
    client.zadd("delay:", {"1": -1})
    client.zadd("schedule:", {"1": 0, "2": 0})
    full_server()
    assert claim_all(schedule).row_ids == ["2"]
    assert client.exists("inv:1") == 0


def test_refresh_from_before_a_foreign_drop_is_not_written_after_a_foreign_put(schedule, client):
    schedule.put_rows({"1": (5, 0)})
    before = claim_all(schedule)
    client.zadd("delay:", {"1": -1})
    client.zadd("schedule:", {"1": 0})
    claim_all(schedule)
    client.zadd("delay:", {"1": 5})
    client.zadd("schedule:", {"1": 0})
    assert schedule.commit_rows(before, {"1": b'{"v":1}'}).superseded == 1
    after = claim_all(schedule)
    assert schedule.commit_rows(before, {"1": b'{"v":1}'}).superseded == 1
    assert schedule.commit_rows(after, {"1": b'{"v":2}'}).refreshed == 1


# all of them


def test_scripts_work_after_the_server_forgot_them(schedule, client):
    def lap():
        schedule.put_rows({"1": (5, 0), "2": (5, 0), "3": (5, 0)})
        claim = claim_all(schedule)
        schedule.commit_rows(claim, {"1": JSON})
        schedule.miss_rows(claim, ["2"], BACKOFF)
        schedule.release_rows(claim, {"3": "error"}, BACKOFF)
        schedule.touch_rows(["1"])
        schedule.lease_rows(["1"], 5)
        schedule.drop_rows(["1", "2", "3"])

    lap()
    client.script_flush()
    lap()


def test_the_largest_batch_passes_through_every_script(schedule, client):
    rows = [f"row {n}" for n in range(MAX_BATCH_SIZE)]
    schedule.put_rows(dict.fromkeys(rows, (5, 0)))
    claim = claim_all(schedule, limit=MAX_BATCH_SIZE)
    assert len(claim.row_ids) == MAX_BATCH_SIZE
    assert schedule.commit_rows(claim, dict.fromkeys(rows, JSON)).refreshed == MAX_BATCH_SIZE
    assert schedule.touch_rows(rows) == MAX_BATCH_SIZE
    claim = schedule.lease_rows(rows, 30)
    assert schedule.miss_rows(claim, rows, BACKOFF).missing == MAX_BATCH_SIZE
    claim = schedule.lease_rows(rows, 30)
    assert schedule.release_rows(claim, dict.fromkeys(rows, "error"), BACKOFF) == MAX_BATCH_SIZE
    client.zadd("delay:", dict.fromkeys(rows, -1))
    client.zadd("schedule:", dict.fromkeys(rows, 0))
    assert claim_all(schedule, limit=MAX_BATCH_SIZE).row_ids == []
    assert client.exists("schedule:") == 0
    assert schedule.drop_rows(rows).applied == MAX_BATCH_SIZE


def test_calls_beyond_the_batch_limit_are_cut(schedule, client):
    rows = [str(n) for n in range(2 * MAX_BATCH_SIZE + 1)]
    assert schedule.put_rows(dict.fromkeys(rows, (5, 0))) == Changed(len(rows), 0)
    assert schedule.touch_rows(rows) == len(rows)
    assert schedule.drop_rows(rows) == Changed(len(rows), 0)


def test_any_bytes_are_a_row_id(schedule, client):
    rows = [b"\xff\xfe", b"a\x00b", "żółć".encode(), b"*", b"{x}", b"a\nb"]
    client.zadd("delay:", dict.fromkeys(rows, 5))
    client.zadd("schedule:", dict.fromkeys(rows, 0))
    claim = claim_all(schedule)
    assert schedule.commit_rows(claim, dict.fromkeys(claim.row_ids, JSON)).refreshed == len(rows)
    assert [client.get(b"inv:" + row) for row in rows] == [JSON] * len(rows)


def test_empty_row_id_of_a_foreign_client_is_dropped_alone(schedule, client):
    client.zadd("delay:", {"": 5, "1": 5})
    client.zadd("schedule:", {"": 0, "1": 0})
    client.set("inv:", JSON)
    claim = claim_all(schedule)
    assert claim.row_ids == ["1"]
    assert schedule.commit_rows(claim, {"1": JSON}).refreshed == 1
    assert client.zrange("schedule:", 0, -1) == client.zrange("delay:", 0, -1) == [b"1"]
    assert not client.exists("inv:")


def test_namespaces_do_not_touch_each_other(client):
    first, second = Schedule(client, Table("inv", "a")), Schedule(client, Table("users", "b", namespace="users"))
    first.put_rows({"1": (5, 0)})
    second.put_rows({"1": (5, 0)})
    second.commit_rows(claim_all(second), {"1": JSON})
    assert client.get("users:1") == JSON
    assert client.get("inv:1") is None
    second.drop_rows(["1"])
    assert claim_all(first).row_ids == ["1"]
