"""A Redis server whose clock really steps, under real processes. Needs libfaketime, which .ci/run installs."""

import json

import pytest
from support.faketime import faked_clock
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

HOUR = 3600


@pytest.fixture
def clock(deployment, tmp_path, monkeypatch):
    """The file that says how many seconds the clock of the Redis server is ahead."""
    clock = tmp_path / "clock"
    with monkeypatch.context() as environment:
        faked_clock(environment, clock)
        deployment.valkey.kill()
        deployment.valkey.start()
    return clock


def test_steps_of_the_clock_lose_no_row_and_starve_none_for_longer_than_one_interval(deployment, clock):
    for n in (1, 2):
        deployment.start_beat(f"beat{n}")
    deployment.start_worker()
    rows = [str(n) for n in range(1, 1001)]
    deployment.schedule.put_rows(dict.fromkeys(rows, (2, 0)))

    def is_fresh(stock):
        values = deployment.client.mget([f"inv:{row_id}" for row_id in rows])
        return all(value and json.loads(value)["stock"] == stock for value in values)

    wait_until(lambda: is_fresh(0), "the rows are cached")
    for stock, ahead_s in enumerate((-HOUR, 0, HOUR, 0), 1):
        clock.write_text(f"{ahead_s:+d}")
        deployment.sql(f"UPDATE inventory SET stock = {stock}")
        wait_until(lambda stock=stock: is_fresh(stock), f"a clock {ahead_s:+d} s ahead starves no row")
        assert deployment.client.zcard("schedule:") == len(rows)
    assert "stepped back" in deployment.log("beat1") + deployment.log("beat2")


def test_batch_that_outlasts_a_small_step_back_writes_no_older_value(deployment, clock):
    """The worker is stopped in the middle of a batch; the clock steps back by less than that takes."""
    schedule, client = deployment.schedule, deployment.client
    schedule.put_rows({"1": (100, 0)})
    frozen, _ = schedule.claim_rows(10, 30)
    ahead_s = 0.0

    def has_stepped_back():
        nonlocal ahead_s
        taken_s = server_time(client) - float(frozen.claimed_at)
        if taken_s >= 0:
            ahead_s = 1.5 * ahead_s - taken_s - 0.3
            clock.write_text(f"{ahead_s:+.3f}")
        return taken_s < 0

    wait_until(has_stepped_back, "the clock is a little before the claim, however long the steps take")
    schedule.touch_rows(["1"])
    claim, _ = schedule.claim_rows(10, 30)
    assert schedule.commit_rows(claim, {"1": b'{"stock":2}'}).refreshed == 1
    wait_until(lambda: server_time(client) > float(frozen.claimed_at), "the clock is where it was")
    assert schedule.commit_rows(frozen, {"1": b'{"stock":1}'}).superseded == 1
    assert client.get("inv:1") == b'{"stock":2}'


def server_time(client):
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6
