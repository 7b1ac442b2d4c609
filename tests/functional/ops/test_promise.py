"""Promise of a table: measured now, with its cause, the same in status, health and the metrics."""

import json
import re
from types import SimpleNamespace

import pytest
from celery import Celery
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest
from support.noted import note, note_both
from support.settings_module import write_settings

from rowcache_tasks.config.settings import load_settings
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.ops.metrics import RowCacheCollector
from rowcache_tasks.schedule.rows import Schedule

TABLES = {"inv": {"table": "inventory", "max_staleness": 60, "target": 0.9}, "users": {"table": "users"}}


@pytest.fixture
def promise(client, valkey, monkeypatch, tmp_path):
    """Return the promise in `status --json`; check that health and the metrics say the same."""
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), tables=TABLES)
    app = Celery("rowcache_tasks", broker=valkey.broker_url(8), set_as_current=False)

    def run(*arguments):
        return CliRunner().invoke(rowcache, list(arguments), obj=SimpleNamespace(app=app))

    def read():
        tables = json.loads(run("status", "--json").stdout)["tables"]
        assert tables["users"]["promise"] is None
        found, health = tables["inv"]["promise"], run("health")
        assert (found["max_staleness"], found["target"]) == (60, 0.9)
        registry = CollectorRegistry()
        registry.register(RowCacheCollector(client, load_settings()))
        scraped = generate_latest(registry).decode()
        if found["state"] is None:
            assert "promise" not in health.output
            assert 'promise_state{table="inv"}' not in scraped
        else:
            is_warned = found["state"] == "kept" and "warn: " in health.output  # of something else
            assert (f"promise {found['state']}: " in health.output) != is_warned
            assert re.split(r"\d", found["cause"])[0] in health.output
            assert (health.exit_code == 1) >= (found["state"] == "broken")
            number = ["kept", "at risk", "broken"].index(found["state"])
            assert f'rowcache_promise_state{{table="inv"}} {number}.0' in scraped
            assert f'rowcache_promise_achieved_ratio{{table="inv"}} {found["achieved"]}' in scraped
        return found["achieved"], found["state"], found["cause"]

    return read


def refresh(client, ages, due_s=30):
    """Let rows have been refreshed so many seconds ago, and be due later."""
    now = client.time()[0]
    client.zadd("refreshed:", {str(n): now - age for n, age in enumerate(ages)})
    client.zadd("schedule:", {str(n): now + due_s for n in range(len(ages))})
    client.zadd("delay:", {str(n): 60 for n in range(len(ages))})
    return True


def silence(client, kind):
    """Let the processes of a kind have been frozen a few seconds ago; they still count as alive."""
    client.delete("processes:")
    note(client, "dispatcher", "beat@a", ago=6 * (kind == "dispatcher"))
    note(client, ago=6 * (kind == "worker"))


def kill(client, kind):
    """Let the processes of a kind have been killed just now: the connections of their notes are closed."""
    client.delete("processes:")
    closed = client.client_id()
    client.connection_pool.disconnect()
    note(client, "dispatcher", "beat@a", connection=closed if kind == "dispatcher" else client.client_id())
    note(client, connection=closed if kind == "worker" else client.client_id())


def test_share_of_the_rows_that_were_refreshed_in_time(client, promise):
    note_both(client)
    assert promise() == (None, None, ""), "nothing is promised of no row"
    refresh(client, [5] * 9 + [70])
    assert promise() == (0.9, "kept", "")
    refresh(client, [5] * 8 + [70, 70])
    assert promise() == (0.8, "broken", "no row was ever refreshed")
    refresh(client, [5] * 8 + [70, 70], due_s=50)
    client.hset("state:", "committed_at", client.time()[0])
    assert promise()[2].startswith("rows are due later than promised")
    refresh(client, [5] * 8 + [70, 70], due_s=20)
    assert promise()[2].startswith("a row has waited for "), "a lease may end so soon: it was due after 60 s"
    client.zrem("refreshed:", *map(str, range(10)))
    assert promise()[:2] == (0.0, "broken"), "a row that was never refreshed is not in time"
    client.zadd("refreshed:", dict.fromkeys(map(str, range(10)), client.time()[0] + 3600))
    assert promise()[:2] == (0.0, "broken"), "nor one of which that is not known, after a step back of the clock"


@pytest.mark.parametrize(
    ("cause", "happens"),
    [
        ("paused for ", lambda client, now: client.hset("state:", "paused", now - 20)),
        ("no dispatcher is alive", lambda client, now: client.delete("processes:") and note(client)),
        ("no worker is alive", lambda client, now: client.delete("processes:") and note(client, "dispatcher", "b@a")),
        ("no dispatcher is alive", lambda client, now: silence(client, "dispatcher")),
        ("no worker is alive", lambda client, now: silence(client, "worker")),
        ("no dispatcher is alive", lambda client, now: kill(client, "dispatcher")),
        ("no worker is alive", lambda client, now: kill(client, "worker")),
        (
            "too few workers: the rows of all tables need ",
            lambda client, now: note(client, name="celery@b", pool=1, costs={"inv": [0, 60]}),
        ),
        ("2 rows failed", lambda client, now: client.hset("failures:", mapping={"1": "{}", "2": "{}"})),
        ("queue: a batch waits for ", lambda client, now: client.zadd("queue:", {"x": now - 20})),
        (
            "slow SELECT: a read took ",
            lambda client, now: client.hset("state:", mapping={"slow_at": now, "slow_ms": 20_000}),
        ),
        ("10 rows due and not claimed", lambda client, now: refresh(client, [50] * 10, due_s=-20)),
        ("2 rows with a delay and no due time", lambda client, now: client.zrem("schedule:", "1", "2")),
        ("the clock of Redis stepped back by ", lambda client, now: client.hset("state:", "clock", now + 9)),
        ("the clock of Redis stepped back by ", lambda client, now: client.hset("state:", "step", f"{now - 60}.0 9.0")),
    ],
)
def test_cause_that_will_break_it_is_a_risk_before_it_does(client, promise, cause, happens):
    note_both(client)
    refresh(client, [5] * 10)
    assert promise() == (1.0, "kept", "")
    happens(client, client.time()[0])
    achieved, state, found = promise()
    assert (achieved, state) == (1.0, "at risk")
    assert found.startswith(cause)
    client.zadd("refreshed:", dict.fromkeys(map(str, range(10)), client.time()[0] - 70))
    assert promise()[1] == "broken"
    assert promise()[2].startswith(cause)


def test_broker_that_is_away_is_a_risk_while_rows_are_fresh(client, promise):
    note_both(client)
    refresh(client, [5] * 10)
    app = Celery("rowcache_tasks", broker="redis://127.0.0.1:1/0", set_as_current=False)
    done = CliRunner().invoke(rowcache, ["status", "--json"], obj=SimpleNamespace(app=app))
    found = json.loads(done.stdout)["tables"]["inv"]["promise"]
    assert (found["achieved"], found["state"]) == (1.0, "at risk")
    assert found["cause"].startswith("the broker does not answer")


def test_rows_that_readers_fill_do_not_stand_for_others(client, promise):
    note_both(client)
    refresh(client, [5] * 8 + [70, 70])
    now = client.time()[0]
    client.zadd("refreshed:", {f"filled {n}": now for n in range(10)})
    client.zadd("schedule:", {f"filled {n}": now + 100 for n in range(10)})
    assert promise()[:2] == (0.8, "at risk"), "which of them are recent is not known"
    refresh(client, [70] * 10)
    client.zrem("refreshed:", *(f"filled {n}" for n in range(5)))
    assert promise()[:2] == (0.0, "broken")


def test_age_counts_from_the_read(client, promise):
    note_both(client)
    refresh(client, [5] * 9 + [50])
    assert promise()[:2] == (1.0, "kept")
    client.hset("state:", "read_s", 11)
    assert promise()[0] == 0.9


def test_step_back_of_the_clock_makes_no_row_younger(client, promise):
    note_both(client)
    refresh(client, [5] * 10)
    client.hset("state:", "step", f"{client.time()[0] - 1}.0 56.0")
    assert promise()[1:] == ("broken", "the clock of Redis stepped back by 56.0 s")
    client.hset("state:", "step", f"{client.time()[0] - 120}.0 56.0")
    assert promise()[1] == "kept", "all rows were refreshed since"


def test_promise_that_comes_and_goes_or_nearly_breaks_is_not_kept(client, promise, monkeypatch):
    monkeypatch.setattr("rowcache_tasks.ops.freshness.MISSED_FOR_S", 60)
    note_both(client)
    refresh(client, [5] * 92 + [70] * 8)
    assert promise() == (0.92, "at risk", "8 rows older than promised, 10 may be")
    refresh(client, [5] * 100)
    client.hset("state:", "missed_at", client.time()[0])
    assert promise()[1:] == ("at risk", "broken within the last 60.0 s")


def test_hours_of_a_day_keep_the_mean_share_of_the_rows(client, promise):
    note_both(client)
    refresh(client, [5] * 9 + [70])
    now = client.time()[0]
    client.hset("state:", mapping={"judged_at": now - 1, "hour:nonsense": "x"})
    client.hset("state:", f"hour:{(now // 3600 + 1) % 24}", f"{now // 3600 - 47} 5.000000 1.000000")
    Schedule(client, load_settings().tables["inv"]).check_clock()
    done = CliRunner().invoke(rowcache, ["status", "--json"], obj=SimpleNamespace(app=None))
    hours = json.loads(done.stdout)["tables"]["inv"]["promise"]["hours"]
    assert [hour["hour"] % 3600 for hour in hours] in ([0], [0, 0]), "that of the day before is gone"
    assert [hour["achieved"] for hour in hours] == pytest.approx([0.9] * len(hours))


def test_slow_select_is_a_risk_only_as_long_as_it_is_slow(client, promise):
    note_both(client)
    refresh(client, [5] * 10)
    client.hset("state:", mapping={"slow_at": client.time()[0] - 70, "slow_ms": 20_000})
    assert promise() == (1.0, "kept", "")
