"""`rowcache audit`: each kind of difference is found with its cause, and nothing else is."""

import json
import threading
from collections import Counter
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest
from support.in_process_worker import in_process_worker
from support.noted import note_both
from support.settings_module import write_settings

from rowcache_tasks import tasks
from rowcache_tasks.config.settings import Table, load_settings
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.ops.metrics import RowCacheCollector
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.worker.audit import Judge, audit_rows
from rowcache_tasks.worker.refresh import refresh_claim

INV = Table("inv", "inventory")
ROWS = [str(n) for n in range(1, 101)]


@pytest.fixture
def source(db):
    """The table `inventory` with the rows 1 to 100."""
    db.run("CREATE TABLE inventory (id INTEGER PRIMARY KEY, stock INTEGER)")
    db.run("INSERT INTO inventory VALUES " + ", ".join(f"({n}, 0)" for n in ROWS))
    return db.source("inventory")


@pytest.fixture
def run(client, valkey, db, monkeypatch, tmp_path):
    """Run `rowcache audit inv` in this process."""
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), database_url=db.url)
    note_both(client)
    return lambda *arguments: CliRunner().invoke(rowcache, ["audit", "inv", *arguments], obj=SimpleNamespace(app=None))


def refresh(schedule, source):
    """Claim all due rows and refresh them."""
    while (claim := schedule.claim_rows(50, 30)[0]) and claim.row_ids:
        schedule._client.delete("queue:")
        refresh_claim(schedule, source, claim, Backoff())


def make_old(client, *row_ids):
    """Let rows have been refreshed, changed and due a thousand seconds earlier."""
    for key in ("refreshed:", "changed:", "schedule:"):
        for row_id in row_ids:
            client.zincrby(key, -1000, row_id)


def test_every_kind_of_difference_is_found_with_its_cause(db, client, schedule, source, run):
    schedule.put_rows(dict.fromkeys(ROWS, (100, 0)))
    refresh(schedule, source)
    done = run()
    assert (done.exit_code, done.stdout.splitlines()[:2]) == (
        0,
        ["inv: 100 rows compared with the database", "  equal" + "100".rjust(39)],
    )
    # Not wrong: older within the interval, with a new delay, new, dropped soon, filled by a reader, gone just now.
    db.run("UPDATE inventory SET stock = 1 WHERE id IN (1, 2, 3, 4, 5, 6)", "DELETE FROM inventory WHERE id = 10")
    make_old(client, "2")
    schedule.put_rows({"2": (50, 0), "101": (100, 0)})
    db.insert("inventory", 101, 0)
    client.zadd("delay:", {"11": -1})
    client.set("inv:unscheduled", "{}", ex=100)
    # Wrong.
    make_old(client, "3", "4", "5", "6", "7")
    schedule.release_rows(schedule.lease_rows(["3"], 30), {"3": "no such luck"}, Backoff())
    schedule.lease_rows(["4"], 30)
    client.zrem("schedule:", "5")
    client.delete("inv:20", "inv:21")
    client.zrem("schedule:", "22")
    client.zrem("delay:", "22")
    client.set("inv:4711", "{}")
    make_old(client, "30")
    db.run("DELETE FROM inventory WHERE id = 30")
    schedule.put_rows({"abc": (100, 0)})
    schedule.release_rows(schedule.lease_rows(["abc"], 30), {"abc": "no number"}, Backoff())
    done = run("--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    wrong = {row["row_id"]: (row["kind"], row["cause"]) for row in found["rows"] if row["kind"] in WRONG}
    assert wrong == {
        "3": ("older_than_promised", "failing"),
        "4": ("older_than_promised", "claimed"),
        "5": ("older_than_promised", "lost"),
        "6": ("older_than_promised", "due"),
        "20": ("missing", "value_gone"),
        "21": ("missing", "value_gone"),
        "22": ("should_not_be_there", "not_scheduled"),
        "4711": ("should_not_be_there", "not_scheduled"),
        "30": ("should_not_be_there", "due"),
        "abc": ("unreadable", "failing"),
    }
    within = {row["row_id"] for row in found["rows"] if row["kind"] == "older_within_interval"}
    assert within == {"1", "2", "10", "101", "unscheduled"}
    assert (found["compared"], found["wrong"], found["equal"]) == (104, 10, 89)
    assert found["consistent"] == 1 - 10 / 104
    client.hset("state:", "paused", client.time()[0])
    shown = run().stdout
    assert "row 6: older than promised, 17 min old: inv: paused for " in shown
    assert "row 3: older than promised, 17 min old: " in shown
    assert shown.count("\nrow ") == 10


WRONG = ("older_than_promised", "missing", "should_not_be_there", "unreadable")


def test_sample_is_of_different_rows_and_of_the_size_that_was_asked_for(client, schedule, source, run):
    schedule.put_rows(dict.fromkeys(ROWS, (100, 0)))
    refresh(schedule, source)
    found = json.loads(run("--sample", "30", "--json").stdout)
    assert (found["compared"], found["equal"], found["consistent"]) == (30, 30, 1)


def test_task_counts_what_it_compared_in_the_metrics(db, client, schedule, source, valkey, monkeypatch, tmp_path):
    schedule.put_rows(dict.fromkeys(ROWS, (100, 0)))
    refresh(schedule, source)
    client.delete("inv:1", "inv:2")
    client.set("inv:3", "no JSON")
    with in_process_worker(monkeypatch, tmp_path, valkey.url_for(9), database_url=db.url):
        assert tasks.audit_table("inv") == {"equal": 97, "missing": 2, "should_not_be_there": 1}
        assert tasks.audit_table("inv", 10)
        with pytest.raises(ArgumentError, match="sample is 0: it must be a whole number from 1 to 1,000,000"):
            tasks.audit_table.delay("inv", 0)
        registry = CollectorRegistry()
        registry.register(RowCacheCollector(client, load_settings()))
        scraped = generate_latest(registry).decode()
    assert 'rowcache_audited_total{table="inv"} 110.0' in scraped
    assert int(client.hget("stats:", "audit_wrong")) >= 3
    assert 'rowcache_audit_wrong_total{table="inv"} ' in scraped


def test_rows_that_change_all_the_time_are_not_called_different(client, valkey, schedule, source, db):
    """The rows change, are refreshed, dropped, scheduled and deleted while they are compared; none is ever late."""
    schedule.put_rows(dict.fromkeys(ROWS, (1000, 0)))
    refresh(schedule, source)
    stop = threading.Event()

    def change():
        own, count = connect(valkey.url_for(9), "test"), 0
        rows = Schedule(own, INV)
        while not stop.is_set():
            count += 1
            some = [str(n) for n in range(1, 101) if n % 7 == count % 7]
            db.run(f"UPDATE inventory SET stock = {count} WHERE id % 5 = {count % 5}")
            db.run(f"DELETE FROM inventory WHERE id = {count % 50 + 1}")
            db.insert("inventory", count % 50 + 1, count)
            rows.touch_rows(some)
            rows.drop_rows(some[:3])
            rows.put_rows(dict.fromkeys(some[:3], (1000, 0)))
            refresh(rows, source)
        own.close()

    thread = threading.Thread(target=change)
    thread.start()
    judge, kinds = Judge(INV, lease_s=30, grace_s=30), Counter()
    for _ in range(30):
        kinds.update(compared.kind for compared in audit_rows(client, source, judge, ROWS))
    stop.set()
    thread.join()
    assert set(kinds) <= {"equal", "older_within_interval", "changing"}, kinds
    assert kinds["equal"]


def test_row_that_is_refreshed_while_it_is_compared_is_looked_at_again(db, client, schedule, source):
    schedule.put_rows({"1": (100, 0)})
    refresh(schedule, source)
    make_old(client, "1")

    def fetch(row_ids):
        db.run("UPDATE inventory SET stock = stock + 1")
        fetched = source.fetch(row_ids)
        if client.zscore("refreshed:", "1") < client.time()[0] - 100:
            db.run("UPDATE inventory SET stock = stock + 1")
            refresh(schedule, source)
        return fetched

    (found,) = audit_rows(client, SimpleNamespace(fetch=fetch), Judge(INV, 30, 30), ["1"])
    assert found.kind == "older_within_interval"


def test_values_without_a_row_need_a_login_that_may_scan(client, run, source, valkey, monkeypatch, tmp_path, db):
    client.set("inv:4711", "{}")
    client.acl_setuser("operator", True, nopass=True, keys=["*"], commands=["+@all", "-scan"])
    url = valkey.url_for(9)
    write_settings(monkeypatch, tmp_path, url.replace("unix://", "unix://operator:x@"), database_url=db.url)
    done = run()
    assert (done.exit_code, done.stderr) == (
        0,
        "values without a row were not looked for: SCAN is for the administrator\n",
    )


def test_database_that_is_not_named_here_is_one_line(run, monkeypatch, tmp_path, valkey):
    write_settings(monkeypatch, tmp_path, valkey.url_for(9))
    done = run()
    assert done.exit_code == 1
    assert done.stderr.startswith("rowcache_tasks: rowcache_database_url is not set here")
    assert run("--sample", "0").exit_code == 2


def test_limit_of_0_lists_no_row_and_counts_all(client, schedule, source, run):
    schedule.put_rows({"1": (100, 0)})
    refresh(schedule, source)
    client.delete("inv:1")
    done = run("--limit", "0", "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["wrong"], found["rows"]) == (1, 1, [])
