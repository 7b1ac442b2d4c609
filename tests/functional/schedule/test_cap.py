"""Cap on the refreshes of a table: rows above it are late, and none is lost."""

import json
from types import SimpleNamespace

import pytest
import redis
from click.testing import CliRunner
from proof.interleaving.mutant import Mutant
from support.noted import note_both
from support.settings_module import write_settings

from rowcache_tasks.config.settings import Table
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.schedule.rows import Schedule

TABLE = Table("inv", "inventory", max_rate=10)
ROWS = [f"{n:02}" for n in range(40)]


def now_of(client):
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6


@pytest.fixture
def build(client):
    """Function that returns a schedule with 40 due rows, of a script with a mark."""

    def run(mark=""):
        schedule = Mutant("claim_rows", mark).schedule(client, TABLE) if mark else Schedule(client, TABLE)
        now = now_of(client)
        client.zadd("delay:", dict.fromkeys(ROWS, 100))
        client.zadd("refreshed:", dict.fromkeys(ROWS, now))
        client.zadd("schedule:", {row_id: now - 60 + n for n, row_id in enumerate(ROWS)})
        return schedule

    return run


@pytest.mark.parametrize("mark", ["", "no-cap"])
def test_rows_of_one_second_are_claimed_at_once_and_others_as_time_passes(build, client, mark):
    schedule = build(mark)
    claim, next_due = schedule.claim_rows(100, 30)
    assert (claim.row_ids == ROWS[:10]) == (not mark), "the first that are due"
    if not mark:
        assert float(claim.claimed_at) < next_due <= float(claim.claimed_at) + 0.11, "when another one is allowed"
        began_at = now_of(client)
        client.hset("state:", "paced_at", began_at - 0.55)
        claim, _ = schedule.claim_rows(3, 30)
        assert claim.row_ids == ROWS[10:13]
        claim, _ = schedule.claim_rows(100, 30)
        assert 2 <= len(claim.row_ids) <= 2.5 + 10 * (now_of(client) - began_at)
        assert client.zcard("schedule:") == client.zcard("delay:") == 40


def test_rows_without_a_delay_are_dropped_above_the_cap(build, client):
    schedule = build()
    schedule.claim_rows(100, 30)
    client.zadd("delay:", dict.fromkeys(ROWS[10:], 0))
    client.zadd("delay:", {ROWS[-1]: 100})
    client.hset("state:", "paced_at", now_of(client) + 3600)  # nothing is left
    assert schedule.claim_rows(100, 30)[0].row_ids == []
    assert client.zcard("schedule:") == 11


@pytest.mark.parametrize("mark", ["", "trust-future-pace"])
def test_cap_is_not_used_up_for_an_hour_after_a_step_back_of_the_clock(build, client, mark):
    schedule = build(mark)
    client.hset("state:", "paced_at", now_of(client) + 3600)
    assert schedule.claim_rows(100, 30)[0].row_ids == []
    assert (float(client.hget("state:", "paced_at")) <= now_of(client)) == (not mark)


@pytest.mark.parametrize("mark", ["", "crowd-out", "look-past-the-cap"])
def test_rows_that_fail_take_half_of_the_cap_and_a_look_takes_the_rest(build, client, mark):
    schedule = build(mark)
    client.hset("failures:", mapping=dict.fromkeys(ROWS[:20], "{}"))
    failing, _ = schedule.claim_rows(100, 30)
    proven, _ = schedule.claim_rows(100, 30, 1000)
    if mark == "crowd-out":
        assert not proven.row_ids
        return
    assert failing.row_ids == ROWS[:5]
    assert proven.row_ids[:5] == ROWS[20:25], "nothing of the cap is lost"
    next_row = ROWS[20 + len(proven.row_ids)]
    assert (proven.go_on_at == repr(client.zscore("schedule:", next_row))) == (not mark), "the next look is of it"


def test_state_of_another_type_lifts_no_cap(build, client):
    schedule = build()
    client.set("state:", "of another program")
    before = client.zrange("schedule:", 0, -1, withscores=True)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        schedule.claim_rows(100, 30)
    assert client.zrange("schedule:", 0, -1, withscores=True) == before


def test_status_and_health_name_the_cap_as_the_cause(build, client, valkey, monkeypatch, tmp_path):
    tables = {"inv": {"table": "inventory", "max_rate": 10, "max_staleness": 50}}
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), tables=tables)
    note_both(client)
    build().claim_rows(100, 30)

    def run(*arguments):
        return CliRunner().invoke(rowcache, list(arguments), obj=SimpleNamespace(app=None)).stdout

    found = json.loads(run("status", "--json"))["tables"]["inv"]
    assert found["capped"] is True
    assert (found["promise"]["state"], found["promise"]["cause"]) == ("at risk", "the cap max_rate holds rows back")
    assert "rows are late because of the cap: raise max_rate" in run("health")
    client.hset("state:", "capped_at", now_of(client) - 60)
    assert json.loads(run("status", "--json"))["tables"]["inv"]["capped"] is False
