"""What holds for each command: help, examples, --json, mistakes, pipes, signals, completion."""

import contextlib
import json
import os
import pty
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from celery.bin.celery import celery
from click.testing import CliRunner
from support.project import CELERY, ROOT
from support.settings_module import write_settings

from rowcache_tasks import __version__
from rowcache_tasks.ops.cli import COMMANDS, REPOSITORY, rowcache
from rowcache_tasks.schedule.rows import Backoff

SERVERS = {"dispatch", "follow", "metrics"}
"""Commands that run until a signal and print no result."""
QUERIES = {"hot": "SELECT id FROM inventory"}
TABLES = {"inv": {"table": "inventory", "queries": QUERIES, "partitions": 2, "growing_from": 1}}
CALLS = (
    ("schedule", "inv", "10", "1"),
    ("refresh", "inv", "1"),
    ("schedule-query", "inv", "hot", "60"),
    ("schedule-table", "inv", "60"),
    ("reconcile", "inv", "60"),
    ("pause", "inv"),
    ("resume", "inv"),
    ("status",),
    ("get", "inv", "ready"),
    ("errors", "--release"),
    ("rows", "inv", "--limit", "1"),
    ("audit", "inv"),
    ("explain", "inv", "1"),
    ("doctor",),
    ("health",),
    ("health", "--liveness"),
    ("unschedule", "inv", "1"),
    ("grow", "inv"),
    ("drop-table", "inv", "--yes"),
    ("plan", "1000@60"),
    ("init", "project"),
)


def command_of(name):
    return rowcache.get_command(click.Context(rowcache), name)


@pytest.fixture
def shop(client, valkey, tmp_path, monkeypatch):
    """A deployment with a database of 20 rows, and without processes."""
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("CREATE TABLE inventory (id INTEGER PRIMARY KEY)")
        shop.executemany("INSERT INTO inventory VALUES (?)", [(n,) for n in range(1, 21)])
    shop.close()
    url = f"sqlite:///{tmp_path}/shop.db"
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), tables=TABLES, database_url=url)
    return {"CELERY_BROKER_URL": valkey.broker_url(8), "PYTHONPATH": f"{tmp_path}:{ROOT}"}


def run(*arguments, **options):
    return CliRunner().invoke(rowcache, list(arguments), obj=SimpleNamespace(app=None), **options)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_that_parse_and_fits_80_columns(name):
    done = run(name, "-h", terminal_width=80)
    assert done.stdout == run(name, "--help", terminal_width=80).stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    examples = [line.strip() for line in done.stdout.splitlines() if line.startswith("    celery -A rowcache_tasks ")]
    assert examples
    for example in examples:
        words = shlex.split(example.partition(" | ")[0])[4:]
        assert words[0] == name
        alone = command_of(name).make_context(name, words[1:])
        assert set(command_of(name).get_help_option_names(alone)) == {"-h", "--help"}, "kept by click for all contexts"


def test_list_of_commands_is_not_cut_at_80_columns():
    lines = run("-h", terminal_width=80).stdout.splitlines()
    assert {line.split()[0] for line in lines if line.startswith("  ")} >= set(COMMANDS)
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines[1:] if line.endswith("...")]
    assert {line.split()[-1] for line in lines if "https://" in line} == {
        f"{REPOSITORY}/tree/v{__version__}/docs",
        f"{REPOSITORY}/issues",
    }
    listed = celery.get_help(click.Context(celery, terminal_width=80))
    assert " rowcache  Inspect and change the row cache in Redis, without a worker.\n" in listed


def test_each_command_that_prints_a_result_prints_it_as_json(shop, schedule, client):
    assert {name for name, *_ in CALLS} == set(COMMANDS) - SERVERS
    schedule.put_rows({"ready": (100, 0), "x": (100, 0)})
    claim, _ = schedule.claim_rows(10, 30)
    schedule.commit_rows(claim, {"ready": b'{"price":1.10}'})
    schedule.release_rows(claim, {"x": "no\nsuch row"}, Backoff())
    found = {}
    for call in CALLS:
        done = run(*call, "--json")
        assert done.exit_code == 0 or call[0] in {"doctor", "health", "audit"}, done.stderr
        (line,) = done.stdout.splitlines()
        found[" ".join(call[:2])] = json.loads(line)
    assert found["schedule inv"] == {"table": "inv", "rows": 1, "delay": 10}
    assert found["refresh inv"] == {"table": "inv", "rows": 1, "not_scheduled": 0}
    assert found["schedule-table inv"] == {"table": "inv", "rows": 20, "left_alone": 0}
    assert found["pause inv"] == {"table": "inv", "paused": True, "paused_s": 0}
    assert 0 <= found["resume inv"].pop("paused_s") < 60
    assert found["resume inv"] == {"table": "inv", "paused": False}
    assert found["get inv"]["value"] == {"price": 1.1}
    errors = found["errors --release"]["tables"]["inv"]
    assert (errors["failing"], errors["released"]) == (1, 1)
    assert errors["rows"][0].items() > {"row_id": "x", "failures": 1, "error": "no such row"}.items()
    assert found["grow inv"] == {"table": "inv", "rows": 21, "partitions": 2, "growing_from": 1}
    assert found["health"]["ok"] is False
    assert found["health"]["problems"][0]["level"] == "fail"
    assert found["doctor"]["findings"][0] == {"level": "ok", "text": "settings are valid: 1 table: inv"}
    assert found["init project"]["files"][0].startswith("project/")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("statos",), "status"),
        (("status", "--jsn"), "Did you mean '--json'?"),
        (("get", "ivn", "1"), "table 'ivn' is not in rowcache_tables: found 'inv': did you mean inv?"),
        (("refresh", "inv", "1", "--jsn"), "Did you mean '--json'?"),
        (("schedule", "inv", "5", "1", "--hlep"), "Did you mean '--help'?"),
        (("schedule", "inv", "soon", "1"), "delay is 'soon'"),
        (("schedule-query", "inv", "hoot", "60"), "found 'hot': did you mean hot?"),
        (("schedule-query", "inv", "60", "--sql", "SELCT 1"), "--sql is 'SELCT 1': allowed is one"),
        (("plan", "1x@3"), "rows are '1x@3'"),
        (("follow", "inv", "--every", "nan"), "'--every': nan is not a finite number"),
        (("health", "--max-overdue", "nan"), "'--max-overdue': nan is not a finite number"),
        (("status", "--watch", "1e300"), "'--watch': 1e+300 is not in the range"),
        (("rows", "inv", "--limit", str(2**64)), "'--limit': 18446744073709551616 is not in the range"),
        (("plan", "1@1", "--utilisation", "0"), "--utilisation is 0"),
    ],
)
def test_mistake_of_the_user_is_status_2_with_what_was_meant(shop, client, arguments, hint):
    done = run(*arguments)
    assert done.exit_code == 2
    assert hint in done.stderr
    assert client.keys("*") == []


def test_after_two_dashes_everything_is_a_row_id(shop, client):
    assert run("schedule", "inv", "60", "--json", "--", "--jsn").exit_code == 0
    assert client.zrange("delay:", 0, -1) == [b"--jsn"]


def test_drop_table_that_nobody_confirms_says_how_to(shop, schedule, client):
    schedule.put_rows({"1": (5, 0)})
    for words, answer in (((), None), (("--no-input",), "y\n")):
        done = run("drop-table", "inv", *words, input=answer)
        assert done.exit_code == 1
        assert done.stderr.endswith("nobody answers, and nothing was changed: add --yes where nobody can\n")
        assert client.zcard("schedule:") == 1
    assert run("drop-table", "inv", "--no-input", "--yes").exit_code == 0


# The real command


def test_pipe_that_closes_early_and_ascii_are_no_traceback(shop, schedule):
    schedule.put_rows({f"żółć {n}": (100, 0) for n in range(5000)})
    command = shlex.join([*CELERY, "rowcache", "rows", "inv", "--limit", "0"])
    env = os.environ | shop | {"PYTHONIOENCODING": "ascii", "PAGER": "false"}
    done = subprocess.run(["sh", "-c", f"{command} | head -n 1"], env=env, check=False, capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", ["rows inv --limit 0", "status", "status --json", "plan --help"])
@pytest.mark.parametrize("target", ["> /dev/full", ">&-"])
def test_output_that_cannot_be_written_is_one_line(shop, schedule, arguments, target):
    schedule.put_rows({f"{n}": (100, 0) for n in range(5000)})
    command = f"exec {shlex.join([*CELERY, 'rowcache'])} {arguments} {target}"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | shop
    done = subprocess.run(["sh", "-c", command], env=env, check=False, capture_output=True, text=True)
    assert len(done.stderr.splitlines()) <= 1, done.stderr
    if target == "> /dev/full":
        assert (done.returncode, done.stderr) == (1, "Error: the output cannot be written: No space left on device\n")


def test_long_output_goes_through_the_pager_of_a_terminal(shop, schedule):
    schedule.put_rows({f"row {n}": (100, 0) for n in range(100)})
    ours, theirs = pty.openpty()
    env = os.environ | shop | {"PAGER": "sed s/^/paged:/", "TERM": "xterm"}
    command = [*CELERY, "rowcache", "rows", "inv", "--limit", "0"]
    with subprocess.Popen(command, env=env, cwd=ROOT, stdin=theirs, stdout=theirs) as child:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the end
            while found := os.read(ours, 4096):
                shown += found
    os.close(ours)
    assert child.returncode == 0
    lines = shown.decode().splitlines()
    assert len(lines) == 100
    assert all(line.startswith("paged:row ") for line in lines)


def test_ctrl_c_while_redis_hangs_is_no_traceback(shop):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = os.environ | shop | {"CELERY_CONFIG_MODULE": ""}
        env["ROWCACHE_REDIS_URL"] = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        child = subprocess.Popen([*CELERY, "rowcache", "doctor"], env=env, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            child.send_signal(signal.SIGINT)
            _, printed = child.communicate(timeout=60)
    assert child.returncode == 1
    assert printed.split() == ["Aborted!"]


def complete(env, *words):
    variable = f"_{words[0].upper()}_COMPLETE"
    env = os.environ | env | {variable: "bash_complete", "COMP_WORDS": shlex.join(words)}
    env["COMP_CWORD"] = str(len(words) - 1)
    done = subprocess.run(
        [Path(sys.executable).with_name(words[0])], env=env, check=False, capture_output=True, text=True
    )
    return {line.partition(",")[2] for line in done.stdout.splitlines()}


def test_shell_completes_commands_and_tables(shop):
    begin = ("celery", "-A", "rowcache_tasks", "rowcache")
    assert complete(shop, *begin, "re") == {"refresh", "reconcile", "resume"}
    assert complete(shop, *begin, "get", "i") == {"inv"}
    assert complete(shop, "rowcache", "get", "i") == {"inv"}
