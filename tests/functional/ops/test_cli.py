import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
import tomllib
from types import SimpleNamespace

import pytest
import redis
from celery import Celery
from click.testing import CliRunner
from support.fork_server import run_forked
from support.noted import note_both
from support.project import CELERY, ROOT
from support.settings_module import write_settings

from rowcache_tasks import __version__
from rowcache_tasks.config.settings import load_settings
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.ops.cli.access import Access
from rowcache_tasks.ops.cli.status import print_lines, read_status, redraw, watch
from rowcache_tasks.schedule.arguments import MAX_DELAY_S
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Backoff

TABLES = {"inv": {"table": "inventory"}, "users": {"table": "users", "namespace": "users"}}
SECRET_URL = "redis://user:secret@127.0.0.1:1/0"
COMMANDS = (
    ("status",),
    ("schedule", "inv", "5", "1"),
    ("unschedule", "inv", "1"),
    ("refresh", "inv", "1"),
    ("get", "inv", "1"),
    ("errors",),
    ("health",),
)


@pytest.fixture
def broker(valkey):
    """The database of the broker, empty, and an application that uses it."""
    client = connect(valkey.url_for(8), "test")
    client.flushdb()
    app = Celery("rowcache_tasks", broker=valkey.broker_url(8), set_as_current=False)
    yield SimpleNamespace(client=client, app=app)
    client.close()


@pytest.fixture
def run(client, valkey, monkeypatch, tmp_path):
    """Run a command in this process; `app` stands for that of celery -A. One dispatcher and one worker are alive."""
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), tables=TABLES)
    note_both(client)

    def run(*arguments, app=None):
        return CliRunner().invoke(rowcache, list(arguments), obj=SimpleNamespace(app=app))

    return run


@pytest.fixture
def access(run, client):
    return Access(load_settings(), client)


def refusal(done):
    """The one line with which a command failed."""
    assert done.exit_code in {1, 2}
    assert isinstance(done.exception, SystemExit), done.exception
    (line,) = done.stderr.splitlines()
    assert line.startswith("rowcache_tasks: ")
    return line.removeprefix("rowcache_tasks: ")


def commit(schedule, values, delay=100):
    schedule.put_rows(dict.fromkeys(values, (delay, 0)))
    claim, _ = schedule.claim_rows(100, 30)
    schedule.commit_rows(claim, values)


def let_fail(schedule, row_id, reason, times=1):
    schedule.put_rows({row_id: (100, 0)})
    for _ in range(times):
        schedule.touch_rows([row_id])
        schedule.release_rows(schedule.claim_rows(100, 30)[0], {row_id: reason}, Backoff())


# schedule, unschedule, refresh


def test_schedule_makes_rows_due_now_with_their_delay(run, client):
    done = run("schedule", "inv", "2.5", "42", "43")
    assert (done.exit_code, done.stdout) == (0, "inv: 2 rows due now and every 2.5 s\n")
    assert client.zrange("delay:", 0, -1, withscores=True) == [(b"42", 2.5), (b"43", 2.5)]
    assert client.zscore("schedule:", "42") <= client.time()[0] + 1


def test_schedule_acts_on_the_keys_of_the_table_named(run, client):
    run("schedule", "users", "5", "1")
    assert client.exists("schedule:users")
    assert not client.exists("schedule:")


def test_unschedule_removes_the_value_at_once(run, client, schedule):
    commit(schedule, {"42": b"{}"})
    done = run("unschedule", "inv", "42")
    assert (done.exit_code, done.stdout) == (0, "inv: 1 row not cached any more\n")
    assert not client.exists("inv:42", "schedule:", "delay:")


def test_refresh_makes_scheduled_rows_due_and_counts_the_others(run, client, schedule):
    commit(schedule, {"42": b"{}"})
    done = run("refresh", "inv", "42", "nope")
    assert (done.exit_code, done.stdout) == (0, "inv: 1 row due now, 1 not scheduled\n")
    assert client.zscore("schedule:", "42") <= client.time()[0] + 1


def test_row_ids_may_begin_with_a_minus_sign(run, client):
    assert run("schedule", "inv", "5", "-7", "--x").exit_code == 0
    assert client.zrange("delay:", 0, -1) == [b"--x", b"-7"]
    assert run("unschedule", "inv", "-7").exit_code == 0
    assert client.zrange("delay:", 0, -1) == [b"--x"]


def test_row_id_that_is_not_utf8_reaches_redis_as_it_was_typed(run, client):
    run("schedule", "inv", "5", os.fsdecode(b"caf\xe9"))
    assert client.zrange("delay:", 0, -1) == [b"caf\xe9"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("schedule", "nope", "5", "1"), "table 'nope' is not in rowcache_tables: found 'inv', 'users'"),
        (("schedule", "inv", "0", "1"), "delay is 0.0: it must be from 0.05 to "),
        (("schedule", "inv", "-5", "1"), "delay is -5.0: it must be from 0.05 to "),
        (("schedule", "inv", "nan", "1"), "delay is nan: it must be a finite number of seconds"),
        (("schedule", "inv", "soon", "1"), "delay is 'soon': it must be a finite number of seconds"),
        (("schedule", "inv", str(2 * MAX_DELAY_S), "1"), "delay is "),
        (("schedule", "inv", "5", "1", ""), "row id is ''"),
        (("unschedule", "inv", "x" * 2000), "row id is 'xxx"),
        (("refresh", "nope", "1"), "table 'nope'"),
        (("get", "nope", "1"), "table 'nope'"),
        (("errors", "nope"), "table 'nope'"),
    ],
)
def test_bad_argument_is_one_line_and_changes_nothing(run, client, arguments, message):
    assert refusal(run(*arguments)).startswith(message)
    assert client.keys("*") == [b"processes:"]


# get


def test_get_prints_the_json_as_it_is(run, schedule):
    value = '{"price":1.10,"name":"żółć","big":12345678901234567890}'
    commit(schedule, {"42": value.encode()})
    done = run("get", "inv", "42")
    assert (done.exit_code, done.stdout, done.stderr) == (0, value + "\n", "")


def test_get_tells_the_age_and_the_next_refresh_on_stderr(run, schedule):
    commit(schedule, {"42": b"{}"})
    done = run("get", "inv", "42", "--age")
    assert done.stdout == "{}\n"
    assert done.stderr.startswith("row 42 of inv is ")
    assert "ms old; refreshed every 100 s, due or its lease ends in " in done.stderr


def test_get_of_a_row_that_nobody_scheduled_says_how_to(run):
    assert refusal(run("get", "inv", "42")) == (
        "row 42 of inv is not cached: not scheduled (celery -A rowcache_tasks rowcache schedule inv DELAY ROW_ID)"
    )


def test_get_of_a_row_that_is_not_cached_yet_says_since_when_it_is_due(run, schedule):
    schedule.put_rows({"42": (5, -60)})
    assert refusal(run("get", "inv", "42")).startswith("row 42 of inv is not cached: refreshed every 5 s, due for 60")


def test_get_of_a_failing_row_says_why(run, schedule):
    let_fail(schedule, "42", "no such\ncolumn", times=2)
    line = refusal(run("get", "inv", "42"))
    assert "; failed 2 times in a row, last " in line
    assert line.endswith(" ago: no such column")


def test_get_of_a_row_that_is_lost_or_to_be_dropped_says_so(run, client):
    client.zadd("delay:", {"lost": 5, "gone": -1})
    client.zadd("schedule:", {"gone": 1})
    assert "lost from the schedule (celery -A rowcache_tasks rowcache refresh inv ROW_ID)" in refusal(
        run("get", "inv", "lost")
    )
    assert refusal(run("get", "inv", "gone")).endswith("to be dropped")


# errors


def test_errors_lists_the_row_with_most_failures_first(run, schedule):
    let_fail(schedule, "once", "one")
    let_fail(schedule, "thrice", "three", times=3)
    first, worst, other, users = run("errors").stdout.splitlines()
    assert first == "inv: 2 failing rows:"
    assert worst.startswith("  thrice  3 times, last ")
    assert worst.endswith(" ago: three")
    assert other.startswith("  once  1 time, last ")
    assert users == "users: 0 failing rows"


def test_errors_of_one_table_up_to_a_limit(run, schedule):
    for row_id in ("1", "2", "3"):
        let_fail(schedule, row_id, "no", times=int(row_id))
    head, *shown = run("errors", "inv", "--limit", "2").stdout.splitlines()
    assert head == "inv: 3 failing rows, the worst 2:"
    assert [line.split()[0] for line in shown] == ["3", "2"]


def test_errors_cannot_command_the_terminal(run, schedule, client):
    let_fail(schedule, "\x1b[2Jrow\n1", "bad \x1b]0;title\x07 byte")
    client.hset("failures:", b"caf\xe9 ", b"not our record \x1b")
    shown = run("errors", "inv").stdout
    assert "\x1b" not in shown
    assert "'\\x1b[2Jrow\\n1'" in shown
    assert "bad \\x1b]0;title\\x07 byte" in shown
    assert "'caf\\udce9 '" in shown
    assert "unreadable record" in shown


def test_release_makes_every_failing_row_due_and_keeps_the_record(run, schedule, client):
    for row_id in ("1", "2", "3"):
        let_fail(schedule, row_id, "no")
    commit(schedule, {"fine": b"{}"})
    assert run("errors", "inv", "--limit", "1", "--release").stdout.splitlines()[-1] == "inv: 3 rows due now"
    assert client.zcount("schedule:", "-inf", client.time()[0] + 1) == 3
    assert client.hlen("failures:") == 3


# health


def test_health_is_one_line_for_all_tables(run, schedule, broker):
    commit(schedule, {"1": b"{}"})
    done = run("health", app=broker.app)
    assert done.exit_code == 0
    (line,) = done.stdout.splitlines()
    assert line.startswith("ok: inv: no row waits, last commit ")
    assert ", age p50 " in line
    assert line.endswith(" ms; users: no row waits, no commit is known; 1 dispatcher; 1 worker")


def test_health_fails_when_rows_wait_and_nothing_is_committed(run, schedule):
    schedule.put_rows({"1": (5, -60)})
    line = refusal(run("health"))
    assert line.startswith("stalled for over 30 s: inv: a row has been due for 60.")
    assert "no commit is known" in line
    assert "users" not in line


def test_health_allows_what_it_is_told(run, schedule):
    schedule.put_rows({"1": (5, -60)})
    assert run("health", "--max-overdue", "1000").exit_code == 0
    assert run("health", "--max-overdue", "1").exit_code == 1


def test_liveness_fails_like_health_while_the_broker_answers(run, schedule, broker):
    schedule.put_rows({"1": (5, -60)})
    assert refusal(run("health", "--liveness", app=broker.app)).startswith("stalled for over 30 s: inv: ")


def test_liveness_does_not_fail_while_another_table_is_committed(run, schedule, client):
    schedule.put_rows({"1": (5, -60)})
    client.hset("state:users", "committed_at", client.time()[0])
    assert run("health").exit_code == 1
    assert run("health", "--liveness").exit_code == 0


def test_liveness_does_not_fail_for_a_broker_that_is_away(run, schedule):
    schedule.put_rows({"1": (5, -60)})
    app = Celery("rowcache_tasks", broker="redis://:secret@127.0.0.1:1/0", set_as_current=False)
    done = run("health", "--liveness", app=app)
    assert done.exit_code == 0
    assert done.stdout.startswith("not known: the broker does not answer: ")
    assert "secret" not in done.output


def test_liveness_does_not_fail_for_a_redis_that_is_away(run, monkeypatch, tmp_path):
    write_settings(monkeypatch, tmp_path, SECRET_URL)
    done = run("health", "--liveness")
    assert done.exit_code == 0
    assert done.stdout.startswith("not known: Redis at redis://***@127.0.0.1:1/0 does not answer: ")


# Redis or the settings are not there


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_redis_that_is_away_is_one_line_without_the_password(run, monkeypatch, tmp_path, command):
    write_settings(monkeypatch, tmp_path, SECRET_URL)
    line = refusal(run(*command))
    assert line.startswith("Redis at redis://***@127.0.0.1:1/0 does not answer: ")
    assert line.endswith("Connection refused: start it, or correct rowcache_redis_url")
    assert "secret" not in line


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_redis_that_refuses_is_one_line(run, client, command):
    for key in ("schedule:", "delay:", "stats:", "failures:", "inv:1"):
        client.rpush(key, "not ours")
    assert "WRONGTYPE" in refusal(run(*command))


def test_wrong_password_is_one_line_without_it(run, client, valkey, monkeypatch, tmp_path):
    client.acl_setuser("operator", enabled=True, passwords=["+right"], categories=["+@all"], keys=["*"])
    url = valkey.url_for(9).replace("unix://", "unix://operator:wrong@")
    write_settings(monkeypatch, tmp_path, url)
    line = refusal(run("status"))
    assert "refuses the login" in line
    assert "correct the password in rowcache_redis_url" in line
    assert "wrong@" not in line
    client.acl_deluser("operator")


@pytest.mark.parametrize(
    "url", ["redis://:hush/hush@host:6379/0", "redis://:hush@host:hush/0", "redis://:hush@host/0?db=hush"]
)
def test_url_that_cannot_be_read_is_one_line_without_the_password(run, monkeypatch, tmp_path, url):
    write_settings(monkeypatch, tmp_path, url)
    line = refusal(run("status"))
    assert line.startswith("rowcache_redis_url ")
    assert ":hush@" not in line
    assert "hush/hush" not in line


def test_wrong_setting_is_one_line(run, valkey, monkeypatch, tmp_path):
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), lease=-1)
    assert refusal(run("status")) == "rowcache_lease is -1: allowed is a number of seconds from 1 to 3600"


# status


def test_status_is_a_table_with_a_line_for_each_table(run, schedule):
    commit(schedule, {"1": b"{}", "2": b"{}"})
    schedule.put_rows({"3": (5, -20)})
    header, inv, users, of_ages, ages, other, alive, load = run("status").stdout.splitlines()
    assert " ".join(header.split()) == "TABLE SCHEDULED OVERDUE FOR FAILING RATE LATE P50 P99"
    name, scheduled, overdue, waited, _s, failing, rate, *_late = inv.split()
    assert (name, scheduled, overdue, waited[:3], failing, rate) == ("inv", "3", "1", "20.", "0", "-")
    assert users.split() == ["users", "0", "0", "-", "0", "-", "-", "-"]
    assert len({len(line) for line in (header, inv, users)}) == 1, "aligned"
    assert " ".join(of_ages.split()) == "TABLE AGE P50 P99 P99.9 OLDEST NEVER COMMITTED LAST"
    assert ages.split()[-4:-2] == ["1", "2"]
    assert ages.endswith(" ms")
    assert other.split() == ["users", "-", "-", "-", "-", "0", "0", "never"]
    assert len({len(line) for line in (of_ages, ages, other)}) == 1, "aligned"
    assert (alive, load) == ("alive: 1 dispatcher, 1 worker", "load: not measured yet of inv")


def test_status_fits_80_columns_with_large_numbers_and_long_names(run, client, valkey, monkeypatch, tmp_path):
    names = ("a" * 22, "customer_accounts", "a_name_that_is_longer_than_the_column_of_names")
    tables = {name: {"table": "t"} for name in names}
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), tables=tables)
    for name in names:
        client.hset(f"stats:{name}", mapping={"refreshed": 12_345_678_901, "late:40": 1})
        client.zadd(f"schedule:{name}", {"1": client.time()[0] - 90 * 3600, "2": 1e12})
        client.zadd(f"refreshed:{name}", {"1": client.time()[0] - 90 * 3600})
    lines = run("status").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "12,345.6M" in lines[6]
    assert [line.split()[0] for line in lines[1:5]] == [names[0], names[1], names[2], "2"], "a line of its own"


def test_status_says_what_is_wrong_below_the_table(run, schedule):
    schedule.put_rows({"1": (5, -60)})
    let_fail(schedule, "2", "no")
    schedule.put_rows({"1": (5, -60)})
    shown = run("status").stdout
    assert "\nFAIL  stalled for over 30 s: inv: a row has been due for 60." in shown
    assert "\nWARN  inv: 50 %: 1 row failed when refreshed last (no): " in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_status_counts_the_batches_that_wait_at_the_broker(run, broker):
    *_, batches, changes = run("status", app=broker.app).stdout.splitlines()
    assert batches == "queue rowcache.refresh: 0 batches waiting, 1 worker"
    assert changes == "queue rowcache.schedule: 0 changes waiting, 1 worker"
    broker.client.rpush("rowcache.refresh", "message")
    *_, batches, changes = run("status", app=broker.app).stdout.splitlines()
    assert batches == "queue rowcache.refresh: 1 batch waiting, oldest unknown, 1 worker"


def test_status_does_not_make_the_queue(run, broker):
    run("status", app=broker.app)
    assert broker.client.keys("*") == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://:secret@127.0.0.1:1/0", "the broker does not answer: Error 111"),
        ("amqp://user:secret@127.0.0.1:1//", "the broker does not answer: [Errno 111] Connection refused"),
        ("nosuch://user:secret@host", "broker_url is not a URL that Celery supports"),
        ("redis://:sec/ret@host/0", "broker_url is not a URL that Celery supports"),
    ],
)
def test_status_goes_without_the_broker(run, url, reason):
    done = run("status", app=Celery("rowcache_tasks", broker=url, set_as_current=False))
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1].startswith(f"queue: unknown: {reason}")
    assert "sec" not in done.output.lower().replace("second", "")


def test_status_does_not_wait_for_a_broker_that_hangs(run):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"amqp://user@127.0.0.1:{silent.getsockname()[1]}//"
        done = run("status", app=Celery("rowcache_tasks", broker=url, set_as_current=False))
    assert done.stdout.splitlines()[-1] == "queue: unknown: the broker does not answer: timed out"


def test_status_leaves_the_broker_of_another_application_alone(run):
    done = run("status", app=Celery("shop", broker="redis://127.0.0.1:1/0", set_as_current=False))
    assert "queue" not in done.stdout


def test_status_as_json_has_every_number(run, schedule, broker):
    commit(schedule, {"1": b"{}"})
    done = run("status", "--json", app=broker.app)
    reading = json.loads(done.stdout)
    assert reading["queue"] == 0
    inv = reading["tables"]["inv"]
    assert inv | {"scheduled": 1, "committed": 1, "refreshed": 1, "rate": None, "failing": 0, "stalled": False} == inv
    assert inv["committed_at"] <= reading["at"]
    assert reading["tables"]["users"]["committed_at"] is None


def test_status_as_json_is_json_even_with_infinite_due_times(run, client):
    client.zadd("schedule:", {"1": "-inf"})

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    reading = json.loads(run("status", "--json").stdout, parse_constant=refuse)
    assert reading["tables"]["inv"]["overdue_s"] is None
    assert run("status").exit_code == 0


class Stop:
    """Ends a watch after some waits, as Ctrl-C does; each wait does what it is given."""

    def __init__(self, *actions):
        self.actions = list(actions)

    def __call__(self):
        if not self.actions:
            raise KeyboardInterrupt
        self.actions.pop(0)()


def test_watch_shows_rates_and_lateness_since_the_last_reading(access, schedule, client):
    shown = []
    client.hset("stats:", mapping={"late:40": 1000})
    watch(access, shown.append, Stop(lambda: commit(schedule, {"1": b"{}", "2": b"{}"}), lambda: None))
    first, second, third = (reading.as_json()["tables"]["inv"] for reading in shown)
    start, then, _ = (reading.now.tables["inv"] for reading in shown)
    assert (first["rate"], first["late_p50_ms"]) == (None, 1024)
    assert second["rate"] == pytest.approx(2 / (then.at - start.at))
    assert second["late_p99_ms"] < 1024
    assert (second["unchanged_share"], second["error"]) == (0, None)
    assert (third["rate"], third["late_p50_ms"], third["unchanged_share"]) == (0, None, None)


def test_watch_survives_statistics_that_are_reset(access, schedule, client):
    commit(schedule, {"1": b"{}"})
    shown = []
    watch(access, shown.append, Stop(lambda: client.delete("stats:")))
    assert shown[1].as_json()["tables"]["inv"]["rate"] is None


def test_watch_survives_a_redis_that_is_away_for_a_while(access, client, monkeypatch, capsys):
    shown = []
    time_of = client.pipeline

    def fail():
        monkeypatch.setattr(client, "pipeline", lambda **_: (_ for _ in ()).throw(redis.ConnectionError("gone.")))

    def heal():
        monkeypatch.setattr(client, "pipeline", time_of)

    watch(access, shown.append, Stop(fail, heal))
    assert len(shown) == 2
    assert capsys.readouterr().err.startswith("rowcache_tasks: Redis at unix://")


def test_watch_without_a_terminal_prints_lines_under_one_header(access, capsys):
    first = read_status(access, None)
    for found in (first, read_status(access, first)):
        print_lines(found)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.startswith("TIME      TABLE ")
    assert [line.split()[1] for line in lines] == ["inv", "users", "inv", "users"]
    assert {len(line) for line in lines} == {len(header)}, "aligned"


def test_watch_in_a_terminal_draws_over_the_last_table(access, capsys):
    for _ in range(2):
        redraw(read_status(access, None))
    shown = capsys.readouterr().out
    assert shown.count("\x1b[H") == shown.count("SCHEDULED") == shown.count("AGE") == shown.count("\x1b[J") == 2
    assert "\x1b[2J" not in shown, "flickers"


def test_watch_as_json_prints_an_object_for_each_reading(run, monkeypatch):
    def interrupt(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    done = run("status", "--watch", "5", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["queue"] is None


# The real command


@pytest.fixture
def env(valkey, client):
    """The environment of a deployment, without a database and without a worker."""
    return os.environ | {
        "ROWCACHE_REDIS_URL": valkey.url_for(9),
        "ROWCACHE_DATABASE_URL": "",
        "CELERY_BROKER_URL": valkey.broker_url(8),
        "PYTHONPATH": str(ROOT),
    }


def test_celery_runs_the_command(env, schedule):
    commit(schedule, {"1": b"{}"})
    done = run_forked([*CELERY, "rowcache", "status"], env=env)
    header, inv, *_, batches, changes = done.stdout.splitlines()
    assert header.startswith("TABLE ")
    assert inv.startswith("inv ")
    assert batches == "queue rowcache.refresh: 0 batches waiting, no worker"
    assert changes == "queue rowcache.schedule: 0 changes waiting, no worker"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--loglevel=FOO", "Error: Invalid value for '-l' / '--loglevel': 'FOO' is not one of "),
        ("--logfile=/nowhere/x", "rowcache_tasks: --logfile '/nowhere/x' cannot be opened: No such file or dir"),
    ],
)
def test_wrong_option_of_the_log_is_one_line(env, option, line):
    command = [*CELERY, "rowcache", "dispatch", option]
    done = run_forked(command, env=env)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith(line)
    assert "Traceback" not in done.stderr


def test_watch_in_a_real_terminal_redraws_until_ctrl_c_and_exits_with_0(env):
    ours, theirs = pty.openpty()
    command = [*CELERY, "rowcache", "status", "--watch", "0.1"]
    with subprocess.Popen(command, env=env | {"TERM": "xterm"}, cwd=ROOT, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        shown = b""
        while shown.count(b"\x1b[J") < 2:
            shown += os.read(ours, 4096)
        child.send_signal(signal.SIGINT)
    os.close(ours)
    assert child.returncode == 0
    assert b"Traceback" not in shown


def test_celery_of_another_application_is_left_alone(tmp_path):
    """An application with preload options of its own, and no settings of ours."""
    (tmp_path / "shop.py").write_text(
        "import click\n"
        "from celery import Celery\n"
        "app = Celery('shop', broker='memory://')\n"
        "app.user_options['preload'].add(click.Option(['--shop']))\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(("CELERY", "ROWCACHE"))}
    celery = [sys.executable, "-m", "celery", "-A", "shop"]
    env |= {"PYTHONPATH": str(tmp_path)}
    done = run_forked([*celery, "report"], env=env, cwd=tmp_path)
    assert "software -> celery" in done.stdout
    # In an editable installation Python would find the celeryconfig.py of this repository.
    env |= {"CELERY_CONFIG_MODULE": "not_there"}
    done = run_forked([*celery, "rowcache", "status"], env=env, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("rowcache_tasks: configuration module 'not_there' was not found in ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import not_there", "cannot be imported: ModuleNotFoundError: No module named 'not_there' ("),
        ("rowcache_lease = ", "cannot be imported: SyntaxError: invalid syntax ("),
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero ("),
        ("raise ValueError('redis://:word@h')", "cannot be imported: ValueError: redis://***@h ("),
        ("broker_url = 5", "broker_url is a int: allowed is a URL, or a list of URLs"),
        ("broker_transport_options = 5", "broker_transport_options is 5: allowed is a dictionary"),
    ],
)
def test_configuration_module_with_a_mistake_is_one_line_of_every_command(line, said, valkey, tmp_path, monkeypatch):
    """Celery itself prints a traceback, or that the module of the application has no attribute 'celery'."""
    write_settings(monkeypatch, tmp_path, valkey.url_for(9))
    (tmp_path / "celeryconfig.py").write_text(f"\n{line}\n")
    env = dict(os.environ, PYTHONPATH=f"{tmp_path}:{ROOT}") | {"ROWCACHE_TABLES": '{"inv": {"table": "inventory"}}'}
    env.pop("CELERY_CONFIG_MODULE", None)
    for command in (["rowcache", "status"], ["worker"], ["beat", "--pidfile="], ["inspect", "ping"]):
        done = run_forked([*CELERY, "--quiet", *command], env=env | {"ROWCACHE_REDIS_URL": valkey.url}, cwd=tmp_path)
        (found,) = done.stderr.splitlines()
        assert (done.returncode, found.startswith("rowcache_tasks: "), said in found) == (1, True, True), found
        assert "cannot be" not in found or f"{tmp_path}/celeryconfig.py, line 2): correct it" in found


def test_registering_the_commands_imports_neither_celery_nor_sqlalchemy():
    heavy = ("celery", "kombu", "sqlalchemy", "prometheus_client", "flower")
    code = f"import sys, rowcache_tasks.ops.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


def test_every_command_of_the_design_is_there_and_helps_itself():
    runner = CliRunner()
    shown = runner.invoke(rowcache, ["--help"]).stdout
    assert "..." not in shown.partition("Commands:")[2], "no line is cut"
    for name in ("status", "schedule", "unschedule", "refresh", "get", "errors", "doctor", "health", "metrics"):
        assert f"\n  {name}  " in shown
        assert runner.invoke(rowcache, [name, "--help"]).exit_code == 0
    assert runner.invoke(rowcache, ["nope"]).exit_code == 2


@pytest.mark.parametrize(("argument", "printed"), [("--version", f"version {__version__}\n"), ("status", "inv")])
def test_program_rowcache_is_short_for_the_celery_command(argument, printed, valkey, tmp_path, monkeypatch):
    write_settings(monkeypatch, tmp_path, valkey.url_for(9))
    script = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["rowcache"]
    module, function = script.split(":")
    code = f"from {module} import {function}; {function}()"
    done = run_forked([sys.executable, "-c", code, argument], env=os.environ, cwd=tmp_path)
    assert printed in done.stdout
