"""The commands about whole tables, on real Redis and a real database, with no worker."""

import os
import pty
import select
import signal
import sqlite3
import subprocess
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from support.project import CELERY, ROOT
from support.settings_module import write_settings

from rowcache_tasks.ops.cli import command, rowcache
from rowcache_tasks.ops.cli.access import FailedError

TABLES = {"inv": {"table": "inventory", "queries": {"hot": "SELECT id FROM inventory WHERE sold > 10"}}}
COMMANDS = (
    ("schedule-table", "inv", "10"),
    ("schedule-query", "inv", "hot", "10"),
    ("reconcile", "inv", "10"),
    ("pause", "inv"),
    ("resume", "inv"),
    ("drop-table", "inv", "--yes"),
)

QUERY = ("schedule-query", "inv")


@pytest.fixture
def shop(tmp_path):
    """A table inventory of the rows 1 to 20, of which 11 to 20 were sold."""
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("CREATE TABLE inventory (id INTEGER PRIMARY KEY, sold INTEGER)")
        shop.executemany("INSERT INTO inventory VALUES (?, ?)", [(n, n) for n in range(1, 21)])
    yield shop
    shop.close()


@pytest.fixture
def run(client, valkey, shop, monkeypatch, tmp_path):
    write_settings(
        monkeypatch, tmp_path, valkey.url_for(9), tables=TABLES, database_url=f"sqlite:///{tmp_path}/shop.db"
    )

    def run(*arguments, answer=None):
        return CliRunner().invoke(rowcache, list(arguments), obj=SimpleNamespace(app=None), input=answer)

    return run


def assert_done(done, line):
    assert (done.exit_code, done.stdout, done.stderr) == (0, line + "\n", "")


def delays(client):
    return {row_id.decode(): delay for row_id, delay in client.zrange("delay:", 0, -1, withscores=True)}


def numbers(first, last):
    return [str(n) for n in range(first, last + 1)]


def test_schedule_table_schedules_every_row_spread_over_the_delay(run, client):
    assert_done(run("schedule-table", "inv", "100"), "inv: 20 rows scheduled")
    assert delays(client) == dict.fromkeys(numbers(1, 20), 100)
    scores = [score for _, score in client.zrange("schedule:", 0, -1, withscores=True)]
    assert 80 < max(scores) - min(scores) < 100


def test_schedule_query_schedules_what_a_query_of_the_settings_returns(run, client):
    assert_done(run("schedule-query", "inv", "hot", "10"), "inv: 10 rows scheduled")
    assert delays(client) == dict.fromkeys(numbers(11, 20), 10)


def test_schedule_query_schedules_what_a_statement_returns_with_its_delays(run, client):
    done = run("schedule-query", "inv", "10", "--sql", "SELECT id, CASE id WHEN 1 THEN 2.5 END FROM inventory;")
    assert_done(done, "inv: 20 rows scheduled")
    assert delays(client) == {"1": 2.5} | dict.fromkeys(numbers(2, 20), 10)


def test_reconcile_says_what_it_did(run, client, shop):
    client.zadd("delay:", {"1": 5, "4711": 5})
    client.zadd("schedule:", {"1": 1, "4711": 1})
    assert_done(run("reconcile", "inv", "10"), "inv: 19 rows added, every 10 s; 1 dropped; 1 kept")
    assert delays(client) == {"1": 5} | dict.fromkeys(numbers(2, 20), 10)


def test_pause_and_resume(run, client, schedule):
    schedule.put_rows({"1": (5, 0)})
    assert_done(run("pause", "inv"), "inv: paused; batches that were sent before are still refreshed")
    assert schedule.claim_rows(10, 30)[0].row_ids == []
    assert run("pause", "inv").stdout.startswith("inv: paused already, for ")
    client.hset("state:", "paused", client.time()[0] - 7200)
    assert_done(run("resume", "inv"), "inv: resumed; it was paused for 2.0 h")
    assert_done(run("resume", "inv"), "inv: was not paused")
    assert schedule.claim_rows(10, 30)[0].row_ids == ["1"]


def test_drop_table_asks_first(run, client, schedule):
    schedule.put_rows({"1": (5, 0), "2": (5, 0)})
    for answer in ("n\n", "\n", ""):
        done = run("drop-table", "inv", answer=answer)
        assert done.exit_code == 1
        assert "inv: drop 2 rows and their values? [y/N]" in done.stderr
        assert client.zcard("schedule:") == 2
    done = run("drop-table", "inv", answer="y\n")
    assert (done.exit_code, done.stdout) == (0, "inv: 2 rows not cached any more\n")
    assert client.zcard("schedule:") == 0


def test_drop_table_asks_nothing_when_told_so(run, client, schedule):
    schedule.put_rows({"1": (5, 0)})
    assert_done(run("drop-table", "inv", "--yes"), "inv: 1 row not cached any more")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            ((name, "nope", *rest), "table 'nope' is not in rowcache_tables: found 'inv'")
            for name, _, *rest in COMMANDS
        ),
        ((*QUERY, "cold", "10"), "query 'cold' is not in rowcache_tables['inv']['queries']: found 'hot'"),
        ((*QUERY, "hot", "soon"), "delay is 'soon': it must be a finite number of seconds"),
        ((*QUERY, "10", "--sql", "DELETE FROM inventory"), "--sql is 'DELETE FROM inventory': allowed is one"),
        ((*QUERY, "10", "--sql", "SELECT nope FROM inventory"), "--sql: cannot run the statement: no such"),
        ((*QUERY, "10", "--sql", "SELECT 'x'"), "--sql: the statement returns 'x', which is not a key"),
        (("schedule-table", "inv", "0"), "delay is 0.0: it must be from 0.05"),
        (("reconcile", "inv", "-1"), "delay is -1.0: it must be from 0.05"),
    ],
)
def test_bad_argument_is_one_line_and_changes_nothing(run, client, arguments, message):
    done = run(*arguments)
    assert done.exit_code in {1, 2}
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"rowcache_tasks: {message}")
    assert client.keys("*") == []


@pytest.mark.parametrize("arguments", [("10",), ("hot", "10", "--sql", "SELECT 1"), (), ("a", "b", "c")])
def test_wrong_number_of_arguments_shows_how_to_call_it(run, arguments):
    done = run(*QUERY, *arguments)
    assert done.exit_code == 2
    assert "Usage: " in done.stderr


@pytest.mark.parametrize("command", COMMANDS[:3])
def test_without_a_database_it_says_where_to_run_it(run, valkey, monkeypatch, tmp_path, command):
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), tables=TABLES)
    done = run(*command)
    assert done.exit_code == 1
    assert done.stderr.startswith("rowcache_tasks: rowcache_database_url is not set here, and this command reads")


@pytest.mark.parametrize("command", COMMANDS)
def test_redis_that_is_away_is_one_line(run, monkeypatch, tmp_path, command):
    write_settings(
        monkeypatch,
        tmp_path,
        "redis://user:secret@127.0.0.1:1/0",
        tables=TABLES,
        database_url=f"sqlite:///{tmp_path}/shop.db",
    )
    done = run(*command)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("rowcache_tasks: Redis at redis://***@127.0.0.1:1/0 does not answer")


def test_without_a_terminal_it_prints_a_line_from_time_to_time(run, monkeypatch):
    monkeypatch.setattr(command, "LINE_S", 0)
    done = run("schedule-table", "inv", "10")
    assert done.stdout == "inv: 20 rows scheduled\n"
    assert done.stderr == "inv: scheduling: 20 of about 20 rows\n"
    assert run("schedule-query", "inv", "hot", "10").stderr == "inv: scheduling: 10 rows\n"


def interrupted():
    with command.show_progress("inv: dropping", 5000) as shown:
        shown(1200)
        raise KeyboardInterrupt


def test_commands_are_listed_and_help_themselves():
    shown = CliRunner().invoke(rowcache, ["--help"]).stdout
    for name, *_ in COMMANDS:
        assert f"\n  {name}  " in shown
        assert CliRunner().invoke(rowcache, [name, "--help"]).exit_code == 0


def test_ctrl_c_says_how_far_it_came():
    with pytest.raises(FailedError, match="inv: dropping: interrupted after 1,200 rows, which stay done: the same"):
        interrupted()


# In a real terminal


class Terminal:
    """A real command in a real terminal."""

    def __init__(self, env, *arguments):
        self.ours, theirs = pty.openpty()
        command = [*CELERY, "rowcache", *arguments]
        self.child = subprocess.Popen(command, env=env, cwd=ROOT, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.shown = ""

    def read(self, until=None):
        """Read until something is shown, or to the end."""
        while until is None or until not in self.shown:
            assert select.select([self.ours], [], [], 60)[0], f"nothing is shown after {self.shown!r}"
            try:
                self.shown += os.read(self.ours, 4096).decode()
            except OSError:  # the end
                break
        return self.shown

    def close(self):
        self.child.kill()
        self.child.wait()
        os.close(self.ours)


@pytest.fixture
def terminal(client, valkey, tmp_path, shop):
    shop.executemany("INSERT INTO inventory VALUES (?, 0)", [(n,) for n in range(21, 20_001)])
    shop.commit()
    env = os.environ | {
        "ROWCACHE_REDIS_URL": valkey.url_for(9),
        "ROWCACHE_DATABASE_URL": f"sqlite:///{tmp_path}/shop.db",
        "CELERY_BROKER_URL": valkey.broker_url(8),
        "PYTHONPATH": str(ROOT),
    }
    opened = []

    def terminal(*arguments):
        opened.append(Terminal(env, *arguments))
        return opened[-1]

    yield terminal
    for one in opened:
        one.close()


def test_a_bar_shows_how_far_it_is(terminal):
    command = terminal("schedule-table", "inv", "3600")
    shown = command.read()
    assert command.child.wait(30) == 0, shown
    assert "20000/20000" in shown
    assert "\r" in shown
    assert shown.endswith("inv: 20,000 rows scheduled\r\n")


def test_ctrl_c_ends_it_with_one_line_and_it_can_be_repeated(terminal, run, client, schedule):
    schedule.put_rows({str(n): (3600, 1000) for n in range(1, 1001)})
    client.execute_command("CLIENT", "PAUSE", 120_000, "WRITE")
    try:
        command = terminal("drop-table", "inv", "--yes")
        command.read(until="inv: dropping")
        command.child.send_signal(signal.SIGINT)
        shown = command.read()
        assert command.child.wait(60) == 1
    finally:
        client.client_unpause()
    assert "rowcache_tasks: inv: dropping: interrupted after " in shown
    assert "Traceback" not in shown
    assert run("drop-table", "inv", "--yes").exit_code == 0
    assert client.zcard("schedule:") == 0
