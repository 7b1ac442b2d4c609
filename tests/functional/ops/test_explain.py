"""`rowcache explain` names the reason for the state of a row."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from celery import Celery
from click.testing import CliRunner
from support.in_process_worker import in_process_worker
from support.noted import note, note_both
from support.settings_module import write_settings

from rowcache_tasks import RowCache
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.reader.fill import loader
from rowcache_tasks.schedule.claim import to_messages
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.note import start_notes
from rowcache_tasks.schedule.rows import Backoff
from rowcache_tasks.schedule.table import TableState
from rowcache_tasks.tasks import refresh_row


@pytest.fixture
def broker(valkey):
    """The database of the broker, empty."""
    client = connect(valkey.url_for(8), "test")
    client.flushdb()
    yield client
    client.close()


@pytest.fixture
def run(client, valkey, broker, sqlite, monkeypatch, tmp_path):
    """Run `rowcache explain inv` in this process; the database has the rows 1 and 2."""
    sqlite.run("CREATE TABLE inventory (id INTEGER PRIMARY KEY)", "INSERT INTO inventory VALUES (1), (2)")
    tables = {"inv": {"table": "inventory", "max_rate": 5, "adaptive": {"min": 1, "max": 200}}}
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), database_url=sqlite.url, tables=tables)
    app = Celery("rowcache_tasks", broker=valkey.broker_url(8), set_as_current=False)
    return lambda *arguments: CliRunner().invoke(rowcache, ["explain", "inv", *arguments], obj=SimpleNamespace(app=app))


@pytest.fixture
def explain(run):
    """The reason of a row and its text; `explain.facts` has the rest."""

    def explain(row_id="1"):
        done = run(row_id, "--json")
        assert done.exit_code == 0, done.output
        explain.facts = json.loads(done.stdout)
        lines = run(row_id).stdout.splitlines()
        assert lines[0].startswith(f"row {row_id} of inv: {explain.facts['reason'].replace('_', ' ')}: ")
        return explain.facts["reason"], explain.facts["text"]

    return explain


def commit(schedule, row_id="1"):
    schedule.put_rows({row_id: (100, 0)})
    schedule.commit_rows(schedule.claim_rows(10, 30)[0], {row_id: b'{"id":1}'})


def test_row_that_is_fresh_and_then_loses_its_value_its_due_time_or_its_delay(client, schedule, explain, run):
    note_both(client)
    commit(schedule)
    reason, text = explain()
    assert reason == "fresh"
    assert re.fullmatch(r"refreshed .+ ago, every 100 s \(adaptive, 1 to 200 s\): due in .+", text)
    facts = explain.facts
    assert (facts["cached"], facts["delay"], facts["claimed"], facts["database"]) == (True, 100, False, "equal")
    assert 0 <= facts["age"] < 50 < facts["due_in"] <= 100
    assert (facts["dispatchers"], facts["workers"], facts["queue"], facts["failures"]) == (1, 1, 0, 0)
    shown = [line.split()[0] for line in run("1").stdout.splitlines()[1:]]
    assert shown == ["value", "schedule", "claim", "outcomes", "failure", "table", "queue", "database"]
    client.delete("inv:1")
    assert explain()[0] == "value_gone"
    client.zrem("schedule:", "1")
    assert explain()[0] == "lost"
    schedule.drop_rows(["1"])
    assert explain()[0] == "dropped"
    assert explain("2") == (
        "never_scheduled",
        "not scheduled, now or in the last day: celery -A rowcache_tasks rowcache schedule inv DELAY ROW_ID",
    )
    with RowCache("inv") as reader:
        assert reader.get(2, fill=True) == {"id": 2}
    loader.close()
    reason, text = explain("2")
    assert reason == "filled"
    assert text.startswith("a reader filled it, and it expires in ")
    aged = CliRunner().invoke(rowcache, ["get", "inv", "2", "--age"], obj=SimpleNamespace(app=None)).stderr
    assert "filled by a reader, expires in " in aged
    client.zadd("schedule:", {"2": 1})
    assert explain("2")[0] == "to_be_dropped"


def test_due_row_of_a_table_that_is_paused_or_has_no_dispatcher_no_worker_or_a_long_queue(
    client, schedule, broker, explain
):
    schedule.put_rows({"1": (5, -60)})
    assert explain()[0] == "no_dispatcher"
    note(client, "dispatcher", "beat@a")
    reason, text = explain()
    assert (reason, "none is alive" in text) == ("no_worker", True)
    note(client, tables=["users"])
    reason, text = explain()
    assert reason == "table_unknown_to_workers"
    assert text == "no worker has table inv in its settings: restart celery@a"
    note(client, name="celery@b")
    reason, text = explain()
    assert reason == "due"
    assert text.startswith("due for ")
    broker.rpush("rowcache.refresh", "batch", "batch")
    reason, text = explain()
    assert reason == "queue_is_long"
    assert "2 batches of rows wait in rowcache.refresh" in text
    client.hset("state:", "capped_at", client.time()[0])
    capped = explain()
    assert capped[0] == "capped"
    assert capped[1].endswith(
        "max_rate of the table, 5 refreshes a second, holds rows back; they are claimed in order: "
        "raise it, or raise delays"
    )
    TableState(client, schedule.table).pause_table(True)
    reason, text = explain()
    assert reason == "paused"
    assert text.endswith(": celery -A rowcache_tasks rowcache resume inv")
    assert explain.facts["paused_at"]


def test_row_that_is_claimed_fails_or_is_not_in_the_database(client, schedule, explain):
    note_both(client)
    schedule.put_rows({"1": (5, 0)})
    claim, _ = schedule.claim_rows(1, 30)
    reason, text = explain()
    assert reason == "claimed"
    assert text.startswith("claimed for a worker until ")
    facts = explain.facts
    assert (facts["claimed"], facts["lease_until"]) == (True, float(claim.lease_until))
    assert facts["batch_started"] is False
    client.delete("queue:")
    explain()
    assert explain.facts["batch_started"] is True
    schedule.release_rows(claim, {"1": "no\nsuch luck"}, Backoff())
    reason, text = explain()
    assert reason == "failing"
    assert text.startswith("failed 1 time in a row: no such luck: due ")
    error = "worker celery@old has no table 'inv' on these keys: restart it"
    schedule.release_rows(schedule.lease_rows(["1"], 30), {"1": error}, Backoff())
    assert explain() == ("table_unknown_to_workers", error)
    schedule.put_rows({"3": (5, 0)})
    assert explain("3")[0] == "missing_in_database"
    schedule.miss_rows(schedule.lease_rows(["3"], 30), ["3"], Backoff())
    reason, text = explain("3")
    assert reason == "missing_in_database"
    assert "noticed 1 time, dropped after " in text


def test_claim_is_shown_with_its_dispatcher_task_and_worker(client, schedule, explain, run):
    note_both(client)
    schedule.put_rows({"1": (5, 0)})
    claim, _ = schedule.claim_rows(1, 30, note='{"dispatcher":"beat@a","pid":7,"task":"t-1"}')
    reason, text = explain()
    assert reason == "claimed"
    assert " ago by beat@a (process 7) for task t-1, which no worker has started until " in text
    assert explain.facts["batch_started"] is False
    facts = {"worker": "celery@a", "worker_pid": 9, "task": "t-1", "started_at": float(claim.claimed_at)}
    with schedule.exchange() as exchange:
        exchange.send(start_notes([claim], "notes:", facts))
        exchange.read()
    reason, text = explain()
    assert (reason, explain.facts["batch_started"]) == ("claimed", True)
    assert "task t-1, which celery@a (process 9) has started " in text
    assert explain.facts["claim"] == facts | {"dispatcher": "beat@a", "pid": 7, "at": float(claim.claimed_at)}
    client.delete("processes:")
    note(client, "dispatcher", "beat@a")
    note(client, name="celery@a", ago=20)
    note(client, name="celery@b")
    reason, text = explain()
    assert reason == "worker_lost"
    assert text.startswith("celery@a was killed or hangs: claimed ")
    assert "claim     claimed " in run("1").stdout


def test_row_that_was_superseded_or_dropped_is_shown_with_the_reason(client, schedule, explain):
    note_both(client)
    schedule.put_rows({"1": (5, 0)})
    late = replace(schedule.lease_rows(["1"], 30), commit_by=1.0)
    schedule.commit_rows(late, {"1": b"{}"})
    reason, text = explain()
    assert reason == "superseded"
    assert text.startswith("its last refresh was not written ")
    assert " ago (read too long ago): due for " in text
    client.zadd("delay:", {"1": -1})
    assert explain()[0] == "to_be_dropped"
    schedule.claim_rows(1, 30)
    reason, text = explain()
    assert (reason, text.endswith(" ago: its interval was set to 0 or less")) == ("dropped", True)
    schedule.put_rows({"3": (5, 0)})
    for _ in range(schedule.table.missing_limit):
        schedule.miss_rows(schedule.lease_rows(["3"], 30), ["3"], Backoff())
    reason, text = explain("3")
    assert (reason, text.endswith(" ago: not in the database")) == ("dropped", True)
    outcomes = [found["outcome"] for found in explain.facts["outcomes"]]
    assert outcomes == ["dropped"]


def test_row_that_was_asked_for_and_whose_batch_came_too_late_is_shown_as_skipped(
    client, schedule, explain, valkey, sqlite, monkeypatch, tmp_path
):
    note_both(client)
    schedule.put_rows({"1": (5, 0), "2": (5, 0)})
    assert explain()[0] == "due"
    claim, _ = schedule.claim_rows(10, 30)
    late = replace(claim, claimed_at="1000", lease_until="1030")
    client.zadd("schedule:", {"1": 1030, "2": 1030})
    row_ids, sent = to_messages([late])
    with in_process_worker(monkeypatch, tmp_path, valkey.url_for(9), database_url=sqlite.url):
        assert refresh_row("inv", row_ids, **sent) == {"expired": 2}
    reason, text = explain()
    assert reason == "skipped"
    assert text.startswith("its last refresh was left out ")
    assert " ago (its batch came too late): due for " in text
    assert explain("2")[0] == "due", "it was not asked for"


def test_row_that_was_unscheduled_while_it_was_refreshed_is_dropped_by_that_change(client, schedule, explain):
    note_both(client)
    schedule.put_rows({"1": (5, 0)})
    claim = schedule.lease_rows(["1"], 30)
    schedule.drop_rows(["1"])
    assert schedule.commit_rows(claim, {"1": b"{}"}).dropped == 1
    reason, text = explain()
    assert (reason, text.startswith("dropped: its last schedule change was enqueued ")) == ("dropped", True)


def test_row_id_that_is_no_key_or_another_text_for_one_is_named(explain):
    assert explain("01") == ("wrong_row_id", "it is another text for '1': ask for that")
    assert explain("x") == ("wrong_row_id", "row id 'x': it is not a whole number in plain digits")


def test_broker_that_is_away_is_the_reason_of_a_row_that_waits(client, schedule, run):
    note(client, "dispatcher", "beat@a")
    schedule.put_rows({"1": (100, 0)})
    app = Celery("rowcache_tasks", broker="redis+socket:///nowhere?virtual_host=0", set_as_current=False)
    for command, said in (("explain", "1 of inv: broker away: broker: the broker does not"), ("get", "; broker: the")):
        done = CliRunner().invoke(rowcache, [command, "inv", "1"], obj=SimpleNamespace(app=app))
        assert said in done.output.splitlines()[0]


def test_redis_that_is_full_is_the_reason_although_processes_count_as_silent(client, schedule, explain, run):
    schedule.put_rows({"1": (100, 0)})
    explain()  # the scripts are there
    client.config_set("maxmemory", 1)
    try:
        reason, text = explain()
        app = Celery("rowcache_tasks", broker="memory://", set_as_current=False)
        health = CliRunner().invoke(rowcache, ["health"], obj=SimpleNamespace(app=app))
    finally:
        client.config_set("maxmemory", 0)
    assert (reason, text[:14]) == ("redis_full", "Redis is full,")
    assert health.stderr.startswith("rowcache_tasks: Redis is full, ")


def test_without_the_database_the_rest_is_explained(client, schedule, explain, valkey, monkeypatch, tmp_path, run):
    note_both(client)
    commit(schedule)
    write_settings(monkeypatch, tmp_path, valkey.url_for(9))
    assert explain()[0] == "fresh"
    assert explain.facts["database"] == "unknown"
    assert explain.facts["database_error"].startswith("rowcache_database_url is not set here")
    assert "database  was not asked: rowcache_database_url" in run("1").stdout
    assert run("").exit_code == 2
