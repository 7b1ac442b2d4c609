"""Admission: schedule changes that the workers cannot keep are refused with numbers, or warned about."""

import json
import sqlite3
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from support.in_process_worker import in_process_worker
from support.noted import note, note_both

from demo.servers import Valkey
from rowcache_tasks import tasks
from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import AdmissionError
from rowcache_tasks.keys import DeploymentNames
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.schedule.connection import connect

ROWS = [str(n) for n in range(1, 101)]


def run(*arguments):
    return CliRunner().invoke(rowcache, list(arguments), obj=SimpleNamespace(app=None))


@pytest.fixture
def start(valkey, client, tmp_path, monkeypatch):
    """Function that makes this process a worker with these options of `inv`; workers can do 200 refreshes a second."""
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("CREATE TABLE inventory (id INTEGER PRIMARY KEY)")
        shop.executemany("INSERT INTO inventory VALUES (?)", [[n] for n in range(1, 101)])
    shop.close()
    opened = []

    def begin(**options):
        queries = {"all": "SELECT id FROM inventory"}
        tables = {"inv": {"table": "inventory", "queries": queries, **options}, "users": {"table": "inventory"}}
        url = f"sqlite:///{tmp_path}/shop.db"
        opened.append(in_process_worker(monkeypatch, tmp_path, valkey.url_for(9), database_url=url, tables=tables))
        opened[-1].__enter__()
        note(client, pool=2, costs={"inv": (0.0, 0.01), "users": (0.0, 0.01)})

    yield begin
    for each in opened:
        each.__exit__(None, None, None)


def test_rows_that_cannot_be_kept_are_refused_with_numbers_and_nothing_is_changed(start, client):
    start(admission="refuse")
    with pytest.raises(AdmissionError, match=r"100 rows of 'inv': .* 400 .* 2 processes of 1 worker can do 200"):
        tasks.schedule_rows("inv", dict.fromkeys(ROWS, 0.25))
    assert client.exists("schedule:", "delay:", "changed:") == 0
    tasks.schedule_rows("inv", dict.fromkeys(ROWS, 1))
    for n in [*[0] * 8, *range(10)]:  # a row counts once, however often it is scheduled
        tasks.schedule_row("inv", f"new {n}", 0.1)
    with pytest.raises(AdmissionError, match="1 row of 'inv': it would need 210 refreshes"):
        tasks.schedule_row("inv", "one more", 0.1)
    assert client.zcard("delay:") == 110


def test_change_that_lowers_the_demand_or_leaves_it_is_admitted_in_overload(start, client):
    start(admission="refuse")
    client.zadd("delay:", dict.fromkeys(ROWS, 0.25))
    tasks.schedule_rows("inv", dict.fromkeys(ROWS[:50], 0.25))
    tasks.schedule_table("inv", 0.5)
    assert set(client.zmscore("delay:", ROWS)) == {0.5}
    tasks.reconcile_table("inv", 0.05)


def test_whole_table_is_refused_before_its_first_row(start, client):
    start(admission="refuse")
    for refused in (
        lambda: tasks.schedule_table("inv", 0.1),
        lambda: tasks.schedule_query("inv", "all", 0.1),
        lambda: tasks.reconcile_table("inv", 0.1),
    ):
        with pytest.raises(AdmissionError, match="would need 1,000"):
            refused()
    assert client.exists("delay:") == 0
    assert tasks.schedule_table("inv", 1)["applied"] == 100


def test_demand_of_other_tables_and_the_cap_lower_the_capacity(start, client):
    start(admission="refuse", max_rate=150)
    with pytest.raises(AdmissionError, match="can do 150"):
        tasks.schedule_rows("inv", dict.fromkeys(ROWS, 0.5))
    client.zadd("delay:users", dict.fromkeys(ROWS, 1))
    start(admission="refuse")
    with pytest.raises(AdmissionError, match="can do 100"):
        tasks.schedule_rows("inv", dict.fromkeys(ROWS, 0.9))


def test_without_the_option_it_is_one_warning_a_minute(start, client, caplog):
    start()
    for row_id in ROWS:
        tasks.schedule_row("inv", row_id, 0.05)
    assert client.zcard("delay:") == 100
    (line,) = [record.message for record in caplog.records if record.message.startswith("overload: ")]
    assert line.endswith("and 2 processes of 1 worker can do 200: rows will be late")


def test_capacity_that_is_not_measured_refuses_nothing(start, client):
    start(admission="refuse")
    client.delete("processes:")
    note_both(client)
    tasks.schedule_rows("inv", dict.fromkeys(ROWS, 0.05))
    assert client.zcard("delay:") == 100
    assert "load: not measured yet of inv" in run("status").stdout


def test_table_that_is_not_measured_yet_is_named_and_counts_as_the_dearest_one(start, client):
    start()
    client.delete("processes:")
    note(client, pool=2, costs={"inv": (0.0, 0.01)})
    client.zadd("delay:", dict.fromkeys(ROWS, 1))
    client.zadd("delay:users", dict.fromkeys(ROWS[:50], 1))
    shown = " ".join(run("status").stdout.split())
    assert "ask for 50 % of 2 processes of the workers; not measured yet of users" in shown
    found = json.loads(run("status", "--json").stdout)["tables"]
    assert (found["inv"]["capacity"], found["users"]["capacity"]) == (150, None)


def test_commands_refuse_and_name_the_load(start, client):
    start(admission="refuse")
    for command in (("schedule", "inv", "0.05", *ROWS[:20]), ("schedule-table", "inv", "0.1")):
        done = run(*command)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "2 processes of 1 worker can do 200: start more workers, raise delays" in done.stderr
    client.zadd("delay:", dict.fromkeys(ROWS, 0.25))
    found = json.loads(run("status", "--json").stdout)
    assert found["tables"]["inv"]["demand"] == pytest.approx(400)
    assert (found["tables"]["inv"]["capacity"], found["tables"]["users"]["capacity"]) == (200, 0)
    for command in ("status", "health"):
        shown = " ".join(run(command).stdout.split())
        assert "the delays of the rows ask for 200 % of what 2 processes of the workers can do" in shown


def test_change_of_rows_of_another_server_is_made_while_that_of_the_notes_of_processes_is_away(tmp_path, monkeypatch):
    table = Table("inv", "inventory", partitions=8)
    with Valkey() as one, Valkey() as two:
        url, tables = f"{one.url} {two.url}", {"inv": {"table": "inventory", "partitions": 8}}
        with (
            in_process_worker(monkeypatch, tmp_path, url, database_url="sqlite://", tables=tables),
            connect(url, "test") as client,
        ):
            noted = client.node_of(DeploymentNames.of("").processes)
            others = {
                row_id: 10.0
                for part, some in table.divide(ROWS)
                for row_id in some
                if client.node_of(part.keys.delay) is not noted
            }
            (one if noted.name == one.url else two).stop()
            assert tasks.schedule_rows("inv", others) == {"applied": len(others), "ignored": 0}
