"""The command plan: without any server, and with the numbers of a live Redis."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from support.fork_server import run_forked
from support.project import CELERY
from support.settings_module import write_settings

from rowcache_tasks.config.settings import Table
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.schedule.rows import Schedule

TABLES = {"inv": {"table": "inventory"}, "users": {"table": "users", "namespace": "users"}}
AWAY = "redis://user:secret@127.0.0.1:1/0"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run plan in this process with settings that name a Redis; by default one that is not there."""

    def run(*arguments, url=AWAY, **settings):
        write_settings(monkeypatch, tmp_path, url, tables=TABLES, **settings)
        return CliRunner().invoke(rowcache, ["plan", *arguments], obj=SimpleNamespace(app=None))

    return run


@pytest.fixture
def live(run, valkey, client):
    """Run plan on the numbers of the test server."""
    return lambda *arguments: run("--from-redis", "--json", *arguments, url=valkey.url_for(9))


def planned(done):
    assert (done.exit_code, done.stderr) == (0, "")
    return json.loads(done.stdout)


def refusal(done):
    assert done.exit_code in {1, 2}, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("rowcache_tasks: ")
    return line.removeprefix("rowcache_tasks: ")


def commit(schedule, values):
    claim, _ = schedule.claim_rows(1000, 30)
    schedule.commit_rows(claim, values)


# numbers that are given


def test_plan_needs_neither_redis_nor_database(run):
    done = run("1M@60", "1000@1", "--bytes", "300", "--gets", "5000")
    assert (done.exit_code, done.stderr) == (0, "")
    header, *parts = done.stdout.splitlines()[:6]
    assert " ".join(header.split()) == "PART COUNT BUSY CORES SATURATES AT"
    assert [line[:22].strip() for line in parts] == [
        "dispatchers",
        "worker main processes",
        "worker processes",
        "Redis",
        "database",
    ]
    assert len({len(line) for line in (header, *parts)}) == 1, "aligned"
    assert "17,666.7 a second" in done.stdout
    assert "first to saturate: " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_multiple_of_next_to_no_load_is_a_round_number(run):
    done = run("1@3600")
    assert "first to saturate: Redis, at 1,000+ times this load" in done.stdout
    assert {line.split()[-2] for line in done.stdout.splitlines()[1:6]} == {"1,000+"}


def test_plan_as_json_has_every_number(run):
    plan = planned(run("1000@10", "--json", "--processes", "8", "--dispatchers", "3", "--changed", "25"))
    given = {"rows": 1000, "refreshes_per_s": 100, "row_bytes": 300, "changed_share": 0.25, "together": 1}
    assert plan | given == plan
    assert plan["parts"]["dispatchers"]["count"] == 3
    assert plan["parts"]["worker processes"]["count"] == 8
    assert plan["workers"] == 2
    assert plan["first_to_saturate"] in plan["parts"]
    assert plan["advice"]


def test_batch_size_is_that_of_the_settings_unless_it_is_given(run):
    assert planned(run("10@1", "--json", batch_size=77))["batch_size"] == 77
    assert planned(run("10@1", "--json", "--batch-size", "5", batch_size=77))["batch_size"] == 5


def test_without_a_configuration_the_defaults_hold(run, monkeypatch):
    done = run("10@1", "--json")
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "there_is_none")
    again = CliRunner().invoke(rowcache, ["plan", "10@1", "--json"])
    assert planned(again) == planned(done)


def test_wrong_setting_is_one_line(run):
    assert refusal(run("10@1", batch_size=0)).startswith("rowcache_batch_size is 0: ")


def test_plan_runs_as_a_command_of_celery(tmp_path):
    done = run_forked([*CELERY, "rowcache", "plan", "10k@5"], env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "2,000.0 a second" in done.stdout


def test_faster_machine_is_less_busy(run):
    plain, fast = planned(run("1M@60", "--json")), planned(run("1M@60", "--json", "--speed", "3"))
    assert fast["parts"]["Redis"]["saturates_at"] > 2 * plain["parts"]["Redis"]["saturates_at"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("1M",), "rows are '1M': give ROWS@SECONDS, both from 1e-09 to 1e+12, like 1000000@60"),
        (("1@0",), "rows are '1@0': give ROWS@SECONDS"),
        (("1@1", "--bytes", "0"), "--bytes is 0.0: it must be from 1e-09 to 1e+12"),
        (("1@1", "--changed", "200"), "--changed is 200.0: it must be from 0 to 100"),
        (("1@1", "--changed", "nan"), "--changed is nan: it must be from 0 to 100"),
        (("1@1", "--utilisation", "0.5"), "--utilisation is 0.5: it must be from 1 to 100"),
        (("1@1", "--latency", "-3"), "--latency is -3.0: it must be from 0 to 1e+12"),
        (("1@1", "--bytes", "1e300"), "--bytes is 1e+300: it must be from 1e-09 to 1e+12"),
        (("1@1", "--gets", "1e308"), "--gets is 1e+308: it must be from 0 to 1e+12"),
        (("1@1", "--processes", "1" + "0" * 400), "--processes is 1000"),
        (("1@1", "--speed", "1e-300"), "--speed is 1e-300: it must be from 1e-09 to 1e+12"),
        (("9" * 30 + "@1",), "rows are '9999"),
        (("1@1", "--cores", "0"), "--cores is 0.0: it must be from 1 to 1e+12"),
        (("1@1", "--speed", "nan"), "--speed is nan: it must be from 1e-09 to 1e+12"),
        (("1@1", "--batch-size", "5000"), "--batch-size is 5000: it must be from 1 to 1000"),
    ],
)
def test_number_that_cannot_be_is_one_line(run, arguments, line):
    assert refusal(run(*arguments)).startswith(line)


@pytest.mark.parametrize("arguments", [(), ("1@1", "--table", "inv"), ("1@1", "--nope"), ("1@1", "--gets", "x")])
def test_mistake_in_the_command_line_is_status_2(run, arguments):
    assert run(*arguments).exit_code == 2


# numbers of a live deployment


def test_rows_are_counted_by_their_delays(live, schedule):
    schedule.put_rows({f"a{n}": (60, 1000) for n in range(500)} | {f"b{n}": (1, 1000) for n in range(30)})
    plan = planned(live())
    assert plan["rows"] == 530
    assert plan["groups"] == [{"rows": 30, "every_s": 1}, {"rows": 500, "every_s": 60}]
    assert plan["tables"] == 2


def test_delays_that_are_nearly_the_same_are_one_group(live, schedule):
    schedule.put_rows({str(n): (10 + n / 1000, 1000) for n in range(101)})
    (group,) = planned(live())["groups"]
    assert group["rows"] == 101
    assert group["every_s"] == pytest.approx(10.05)


def test_sizes_and_the_share_of_changes_are_those_of_the_cache(live, schedule):
    schedule.put_rows({str(n): (1000, 0) for n in range(100)})
    commit(schedule, {str(n): b'"%s"' % (b"x" * 498) for n in range(100)})
    schedule.touch_rows([str(n) for n in range(100)])
    commit(schedule, {str(n): b'"%s"' % ((b"x" if n % 2 else b"y") * 498) for n in range(100)})
    plan = planned(live())
    assert plan["row_bytes"] == 500
    assert plan["changed_share"] == pytest.approx(0.75)


def test_rows_that_are_due_together_make_fuller_batches(live, schedule, client):
    schedule.put_rows({str(n): (50, 1000) for n in range(100)})
    client.zadd("schedule:", {str(n): 4e9 + n // 20 for n in range(100)})
    together = planned(live())
    apart = planned(live("--together", "1"))
    assert together["together"] == pytest.approx(20)
    assert together["batches_per_s"] < apart["batches_per_s"] / 10


def test_table_is_chosen_and_its_keys_are_used(live, client):
    users = Schedule(client, Table("users", "users", namespace="users"))
    users.put_rows({str(n): (5, 1000) for n in range(7)})
    assert planned(live("--table", "users"))["rows"] == 7
    assert planned(live())["rows"] == 7
    assert "no row of 'inv' has a delay above 0" in refusal(live("--table", "inv"))


def test_rows_that_are_given_come_on_top(live, schedule):
    schedule.put_rows({"1": (10, 1000)})
    assert planned(live("99@10"))["rows"] == 100


def test_what_is_given_goes_before_what_is_found(live, schedule):
    schedule.put_rows({"1": (10, 1000)})
    plan = planned(live("--bytes", "1234", "--changed", "5", "--tables", "9"))
    assert (plan["row_bytes"], plan["changed_share"], plan["tables"]) == (1234, 0.05, 9)


def test_delays_of_foreign_clients_do_no_harm(live, client):
    delays = {"drop": -1, "zero": 0, "tiny": 1e-300, "never": float("inf"), "huge": 1e300, "normal": 10}
    client.zadd("delay:", delays)
    client.zadd("schedule:", dict.fromkeys(delays, 4e9) | {"odd": float("-inf")})
    plan = planned(live())
    assert plan["rows"] == 3
    assert plan["refreshes_per_s"] == pytest.approx(1000 + 0.1)


def test_rows_that_are_never_refreshed_can_be_planned(live, client):
    client.zadd("delay:", {"never": 1.7e308})
    assert planned(live())["rows"] == 1


def test_empty_redis_is_one_line(live):
    assert (
        refusal(live()) == "no row of 'inv', 'users' has a delay above 0: schedule rows, or give them as ROWS@SECONDS"
    )


def test_unknown_table_is_one_line(live):
    assert refusal(live("--table", "nope")).startswith("table 'nope' is not in rowcache_tables: found 'inv', 'users'")


def test_keys_of_another_type_are_one_line(live, client):
    client.rpush("delay:", "not ours")
    assert "WRONGTYPE" in refusal(live())


def test_redis_that_is_away_is_one_line_without_the_password(run):
    line = refusal(run("--from-redis"))
    assert line.startswith("Redis at redis://***@127.0.0.1:1/0 does not answer: ")
    assert "secret" not in line


def test_plan_changes_nothing(live, schedule, client):
    schedule.put_rows({str(n): (10, 1000) for n in range(300)})
    before = {key: client.dump(key) for key in client.scan_iter()}
    planned(live())
    assert {key: client.dump(key) for key in client.scan_iter()} == before


def test_plan_imports_no_database_driver_before_it_must():
    code = "import sys, rowcache_tasks.ops.plan; print('psycopg' in sys.modules, 'celery' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
