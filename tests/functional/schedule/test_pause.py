"""A paused table: no dispatcher claims its rows, everything else goes on, and every command says so."""

import json
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest
from support.noted import note_both
from support.settings_module import write_settings

from rowcache_tasks.config.settings import Table, load_settings
from rowcache_tasks.dispatch.backpressure import Limits
from rowcache_tasks.dispatch.dispatcher import Dispatcher
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.ops.doctor import examine_processes
from rowcache_tasks.ops.metrics import RowCacheCollector
from rowcache_tasks.ops.snapshot import is_halted, read_snapshots
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.table import TableState

INV, NOTE = Table("inv", "inventory"), Table("note", "note", namespace="note")
POLL_S = 0.05


def server_time(client):
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6


@pytest.fixture
def state(client):
    return TableState(client, INV)


class Broker:
    """Takes what is sent."""

    def __init__(self):
        self.sent = []

    def send(self, table, claims):
        self.sent += [(table, row_id) for claim in claims for row_id in claim.row_ids]

    def queue_length(self):
        return 0


@pytest.fixture
def dispatch(client):
    """Two tables and a dispatcher."""
    schedules = [Schedule(client, INV), Schedule(client, NOTE)]
    broker = Broker()
    dispatcher = Dispatcher(client, schedules, broker, Limits(lease_s=30, poll_interval_s=POLL_S))
    yield SimpleNamespace(dispatcher=dispatcher, broker=broker, inv=schedules[0], note=schedules[1])
    dispatcher.close()


def test_rows_of_a_paused_table_are_not_claimed_and_those_of_others_are(dispatch, state):
    state.pause_table(True)
    dispatch.inv.put_rows({"1": (100, -50)})
    dispatch.note.put_rows({"2": (100, -50)})
    pause_s = dispatch.dispatcher.run_once()
    assert dispatch.broker.sent == [("note", "2")]
    assert pause_s > 0
    state.pause_table(False)
    dispatch.dispatcher.run_once()
    assert dispatch.broker.sent == [("note", "2"), ("inv", "1")]


def test_dispatcher_sleeps_while_rows_of_a_paused_table_are_due(dispatch, state, client):
    state.pause_table(True)
    dispatch.inv.put_rows({str(n): (100, -50) for n in range(500)})
    dispatch.dispatcher.run_once()
    assert 0.9 * POLL_S <= dispatch.dispatcher.run_once() <= POLL_S
    before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    dispatch.dispatcher.run(time.monotonic() + 10 * POLL_S)
    calls = client.info("commandstats")["cmdstat_evalsha"]["calls"] - before
    assert calls <= 2 * 14, "both tables, once each poll interval"


def test_foreign_drop_is_done_at_the_end_of_the_pause(state, client, schedule):
    schedule.put_rows({"1": (100, 0)})
    client.set("inv:1", b"{}")
    state.pause_table(True)
    client.zadd("delay:", {"1": -1})
    schedule.claim_rows(10, 30)
    assert client.exists("inv:1")
    state.pause_table(False)
    schedule.claim_rows(10, 30)
    assert not client.exists("inv:1", "schedule:", "delay:")


def test_refresh_by_hand_is_done_all_the_same(state, schedule, client):
    schedule.put_rows({"1": (100, 0)})
    state.pause_table(True)
    claim = schedule.lease_rows(["1"], 30)
    assert schedule.commit_rows(claim, {"1": b"{}"}).refreshed == 1


def test_batch_that_was_sent_before_is_committed_all_the_same(state, schedule, client):
    schedule.put_rows({"1": (100, 0)})
    claim, _ = schedule.claim_rows(10, 30)
    state.pause_table(True)
    assert schedule.commit_rows(claim, {"1": b"{}"}).refreshed == 1


def test_change_stamped_by_a_clock_that_was_ahead_does_not_hold_up_the_next(client, state):
    assert state.pause_table(True, f"{server_time(client) + 3600:.6f}")
    assert state.pause_table(False, f"{server_time(client):.6f}")
    assert client.hget("state:", "paused") is None


def test_last_change_enqueued_wins_in_whatever_order_they_arrive(state, schedule, client):
    first, second, third = (f"{server_time(client) + n / 1e6:.6f}" for n in range(3))
    schedule.put_rows({"1": (100, 0)})
    assert state.pause_table(True, second)
    assert not state.pause_table(False, first)
    assert schedule.claim_rows(10, 30)[0].row_ids == []
    assert state.pause_table(False, third)
    assert not state.pause_table(True, second)
    assert schedule.claim_rows(10, 30)[0].row_ids == ["1"]


def test_pausing_twice_keeps_the_time_of_the_first(state, client):
    state.pause_table(True)
    client.hset("state:", "paused", "1000.5")
    assert state.pause_table(True)
    assert client.hget("state:", "paused") == b"1000.5"


def test_resume_of_a_table_that_is_not_paused_changes_nothing(state, client):
    assert state.pause_table(False)
    assert not client.hexists("state:", "resumed")
    assert not client.exists("wake:")


@pytest.mark.parametrize("key", ["state:", "stats:"])
def test_key_of_another_type_pauses_nothing(schedule, client, key):
    client.set(key, "hostile")
    schedule.put_rows({"1": (100, 0)})
    assert schedule.claim_rows(10, 30)[0].row_ids == ["1"]


@pytest.mark.parametrize("noted", ["", "x", "yes"])
def test_what_is_no_time_pauses_nothing(schedule, client, noted):
    client.hset("state:", "paused", noted)
    schedule.put_rows({"1": (100, 0)})
    assert schedule.claim_rows(10, 30)[0].row_ids == ["1"]
    assert read_snapshots(client, [INV], 30)[0].paused_s is None


# What people see


def test_paused_table_is_not_stalled_and_says_since_when(state, schedule, client):
    schedule.put_rows({"1": (100, -500)})
    (health,) = read_snapshots(client, [INV], 30)
    assert health.is_stalled(30)
    state.pause_table(True)
    client.hset("state:", "paused", server_time(client) - 300)
    (health,) = read_snapshots(client, [INV], 30)
    assert not health.is_stalled(30)
    assert not is_halted([health], 30)
    assert health.describe() == "inv: paused for 5 min, no commit is known"


def test_what_waited_during_a_pause_waits_since_its_end(state, schedule, client):
    schedule.put_rows({"1": (100, -500)})
    state.pause_table(True)
    state.pause_table(False)
    (health,) = read_snapshots(client, [INV], 30)
    assert health.waiting_s < 30
    client.hset("state:", "resumed", server_time(client) - 200)
    (health,) = read_snapshots(client, [INV], 30)
    assert health.is_stalled(30)


@pytest.fixture
def run(client, valkey, monkeypatch, tmp_path):
    write_settings(monkeypatch, tmp_path, valkey.url_for(9))
    return lambda *arguments: CliRunner().invoke(rowcache, list(arguments), obj=SimpleNamespace(app=None))


def test_status_health_metrics_and_doctor_say_that_a_table_is_paused(run, state, schedule, client):
    schedule.put_rows({"1": (100, -500)})
    note_both(client)
    state.pause_table(True)
    client.hset("state:", "paused", server_time(client) - 300)
    shown = run("status").stdout
    assert "WARN  inv: paused for 5 min, no commit is known" in shown
    assert "STALLED" not in shown
    table = json.loads(run("status", "--json").stdout)["tables"]["inv"]
    assert table["paused_at"] == pytest.approx(server_time(client) - 300, abs=60)
    assert table["stalled"] is False
    health = run("health")
    assert health.exit_code == 0
    assert "warn: inv: paused for 5 min, no commit is known" in health.stdout
    registry = CollectorRegistry()
    registry.register(RowCacheCollector(client, load_settings()))
    metrics = generate_latest(registry).decode()
    assert 'rowcache_paused{table="inv"} 1.0' in metrics
    assert 'rowcache_waiting_seconds{table="inv"} 0.0' in metrics
    findings = {finding.text: finding.level for finding in examine_processes(client, load_settings(), None)}
    (paused,) = [text for text in findings if "paused for" in text]
    assert findings[paused] == "warn"
    assert paused.endswith("until celery -A rowcache_tasks rowcache resume inv")


def test_table_that_goes_on_is_said_to_be_paused_by_nobody(run, state):
    state.pause_table(True)
    state.pause_table(False)
    assert "paused" not in run("status").stdout
    assert json.loads(run("status", "--json").stdout)["tables"]["inv"]["paused_at"] is None
