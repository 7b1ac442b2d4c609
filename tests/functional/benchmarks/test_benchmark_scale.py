"""What the cases scale and idle stand on, with few rows: that they measure what they say."""

import pytest

from benchmarks.depot import VALUE_BYTES, Depot, due_in
from benchmarks.disturbance import name_of
from benchmarks.idleness import idle_dispatcher
from benchmarks.script_cost import BATCH, claim_and_commit, longest_calls
from benchmarks.stage import Stage
from benchmarks.waste import wasted
from rowcache_tasks.schedule.rows import SCRIPT_BATCH
from rowcache_tasks.schedule.script import load_script

ROWS = 4_000


@pytest.fixture(scope="module")
def stage():
    with Stage(ROWS) as stage:
        yield stage


@pytest.fixture(scope="module")
def depot():
    with Depot(ROWS) as depot:
        yield depot


def test_depot_holds_what_refreshes_leave_behind(depot):
    due = sorted(range(1, ROWS + 1), key=due_in)
    scheduled = depot.client.zrange("schedule:", 0, -1)

    assert scheduled == [b"%d" % n for n in due]
    assert depot.client.zscore("schedule:", "7") == depot.filled_at + due_in(7)
    assert {depot.client.zcard(key) for key in ("delay:", "refreshed:", "changed:")} == {ROWS}
    assert depot.client.zscore("refreshed:", "7") < depot.filled_at
    assert depot.client.strlen(f"inv:{due[0]}") == VALUE_BYTES
    assert depot.bytes_per_row.keys() == {"schedule:", "delay:", "refreshed:", "changed:", "inv:"}


def test_claims_and_commits_of_a_depot_go_on_and_on(depot):
    costs = claim_and_commit({ROWS: depot}, 2)[ROWS]

    assert depot.client.hget("stats:", "superseded") is None
    assert int(depot.client.hget("stats:", "refreshed")) == 7 * BATCH
    assert {"claim", "commit", "claim zrange", "commit zadd"} <= costs.keys()


def test_each_call_that_takes_many_rows_is_measured_as_it_is_made(depot):
    longest = longest_calls(depot, 1)

    assert {script.partition(",")[0] for script in longest} == {
        "commit_rows",
        "miss_rows",
        "release_rows",
        "put_rows",
        "touch_rows",
        "lease_rows",
        "drop_rows",
        "begin_fill",
        "end_fill",
        "repair_rows",
    }
    assert max(rows for rows, _ in longest.values()) == SCRIPT_BATCH
    assert int(depot.client.hget("stats:", "filled")) == SCRIPT_BATCH


def test_idle_dispatcher_looks_at_redis_again_and_again(stage):
    found = idle_dispatcher(stage, 0.5)

    assert found.round_trips > 0
    assert found.commands > found.round_trips


def test_unchanged_rows_invalidate_nothing_and_write_less(stage):
    found = wasted(stage, 200, 100)

    assert [waste.committed for waste in found.values()] == [
        {"refreshed": 200, "unchanged": 0},
        {"refreshed": 0, "unchanged": 200},
        {"refreshed": 200, "unchanged": 0},
    ]
    assert [waste.invalidations for waste in found.values()] == [1, 0, 1]
    assert found["unchanged"].file_bytes < found["changed"].file_bytes
    assert found["unchanged"].queries >= 10  # two batches, or more on a machine that is busy


def test_slow_call_is_named_by_its_script():
    digest = load_script("commit_rows").digest

    assert name_of(f"EVALSHA {digest} 6 schedule:".encode()) == "commit_rows"
    assert name_of(b"DEL a") == "DEL"
