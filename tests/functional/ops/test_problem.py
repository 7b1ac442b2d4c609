"""Each fault of a deployment is one line with its remedy, in `health`, `doctor`, `status`, `get` and the metrics."""

import base64
import json
import re
from types import SimpleNamespace

import pytest
from celery import Celery
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest
from support.noted import note, note_both
from support.settings_module import write_settings

from rowcache_tasks.celery.broker_state import BrokerState
from rowcache_tasks.config.settings import load_settings
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.ops.metrics import RowCacheCollector
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.process import ProcessNote
from rowcache_tasks.schedule.rows import Backoff

TABLES = {"inv": {"table": "inventory"}, "users": {"table": "users", "namespace": "users"}}


def timeless(line):
    """Leave out durations: the next command runs later."""
    return re.sub(r"[\d.]+ (ms|s|min)\b", "", line)


class Commands:
    """The commands on a deployment whose notes and queues the test writes."""

    def __init__(self, client, broker, app):
        self.client, self.broker, self.app = client, broker, app

    def run(self, *arguments):
        return CliRunner().invoke(rowcache, list(arguments), obj=SimpleNamespace(app=self.app))

    def health(self):
        """The exit status and the lines of `health`; `status`, `doctor` and the metrics say the same."""
        done = self.run("health")
        found = done.stderr.splitlines() or done.stdout.splitlines()
        lines = [line.removeprefix("rowcache_tasks: ").removeprefix("warn: ") for line in found]
        if not lines[0].startswith("ok: "):
            problems = json.loads(self.run("status", "--json").stdout)["problems"]
            assert [timeless(problem["text"]) for problem in problems] == [timeless(line) for line in lines]
            doctor = [timeless(line[6:]) for line in self.run("doctor").stdout.splitlines()]
            assert [line for line in lines if timeless(line) not in doctor] == []
            registry = CollectorRegistry()
            registry.register(RowCacheCollector(self.client, load_settings(), BrokerState(self.app)))
            faults = sum(problem["level"] == "fail" for problem in problems)
            assert f"rowcache_faults {faults:.1f}" in generate_latest(registry).decode()
        return done.exit_code, lines

    def enqueue_change(self, ago):
        body = [[], {"table": "inv", "stamp": str(self.client.time()[0] - ago)}, {}]
        message = {"body": base64.b64encode(json.dumps(body).encode()).decode(), "headers": {}}
        self.broker.lpush("rowcache.schedule", json.dumps(message))


@pytest.fixture
def commands(client, valkey, monkeypatch, tmp_path):
    broker = connect(valkey.url_for(8), "test")
    broker.flushdb()
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), tables=TABLES)
    app = Celery("rowcache_tasks", broker=valkey.broker_url(8), set_as_current=False)
    yield Commands(client, broker, app)
    broker.close()


def test_deployment_in_order_is_ok(commands, client, schedule):
    note_both(client)
    schedule.put_rows({"1": (5, 0)})
    status, (line,) = commands.health()
    assert status == 0
    assert line.startswith("ok: inv: ")
    assert line.endswith("; 1 dispatcher; 1 worker")


def test_forgotten_beat_or_another_scheduler(commands, client, schedule):
    note(client)
    schedule.put_rows({"1": (5, 0)})
    status, (line,) = commands.health()
    assert status == 1
    assert line == (
        "dispatchers: none is alive, so nothing is refreshed, and beat_scheduler celery.beat:PersistentScheduler "
        "dispatches nothing: start celery -A rowcache_tasks rowcache dispatch, or beat -S rowcache"
    )
    assert line in commands.run("get", "inv", "1").stderr
    commands.app.conf.beat_scheduler = "rowcache_tasks.beat:DispatchScheduler"
    assert commands.health()[1] == [
        "dispatchers: none is alive, so nothing is refreshed: start celery -A rowcache_tasks beat"
    ]


def test_forgotten_worker(commands, client, schedule):
    note(client, "dispatcher", "beat@a")
    for ago in (40, 20):
        commands.enqueue_change(ago)
    status, (refresh, change) = commands.health()
    assert status == 1
    assert refresh == "workers: none is alive, so nothing is refreshed: start celery -A rowcache_tasks worker"
    assert change.startswith("workers: none is alive, so 2 schedule changes wait, the oldest for 4")
    assert change.endswith(": start celery -A rowcache_tasks worker")
    got = commands.run("get", "inv", "1").stderr
    assert "is not cached: not scheduled (" in got
    assert "; workers: none is alive, so 2 schedule changes wait, the oldest for 4" in got
    assert len(got.splitlines()) == 1


def test_worker_that_consumes_none_of_the_queues(commands, client, schedule):
    note(client, "dispatcher", "beat@a")
    note(client, queues=[])
    schedule.put_rows({"1": (5, 0)})
    status, lines = commands.health()
    assert status == 1
    remedy = ": start celery -A rowcache_tasks worker with -Q celery,rowcache.refresh,rowcache.schedule"
    assert lines == [
        "workers: 1 is alive, none consumes rowcache.refresh, so nothing is refreshed" + remedy,
        "workers: 1 is alive, none consumes rowcache.schedule, so schedule changes would wait" + remedy,
    ]
    assert lines[0] in commands.run("get", "inv", "1").stderr


def test_processes_and_queues_of_another_deployment_do_not_count(commands, client, monkeypatch, tmp_path):
    note_both(client)
    write_settings(monkeypatch, tmp_path, load_settings().redis_url, tables=TABLES, deployment="eu")
    note(client, "dispatcher", "beat@a", of="eu")
    note(client, queues=["rowcache.refresh"], of="eu")
    commands.enqueue_change(90)
    status, (refresh, _) = commands.health()
    assert status == 0
    assert refresh.endswith(
        "none consumes rowcache.eu.refresh, so nothing is refreshed: start celery -A "
        "rowcache_tasks worker with -Q celery,rowcache.eu.refresh,rowcache.eu.schedule"
    )
    assert list(json.loads(commands.run("status", "--json").stdout)["queues"]) == [*load_settings().names.queues]


def test_worker_and_dispatcher_without_the_table(commands, client):
    note(client, "dispatcher", "beat@a", tables=["inv"])
    note(client, tables=["inv"])
    note(client, name="celery@b")
    client.zadd("delay:users", {"1": 5})
    client.zadd("schedule:users", {"1": client.time()[0]})
    status, (dispatcher, worker) = commands.health()
    assert status == 1
    assert dispatcher.startswith(
        "dispatchers: none of 1 has table users in its settings, so its rows are not refreshed"
    )
    assert worker.startswith("workers: celery@a has no table users in the settings, and hand its batches back: restart")


def test_worker_that_hangs_among_several(commands, client):
    note_both(client)
    note(client, name="celery@b", ago=31, pid=12)
    status, (line,) = commands.health()
    assert status == 1
    assert line.startswith("worker celery@b (process 12) is silent for 31.")
    assert line.endswith(" s: it hangs or was killed: restart it")


def test_worker_that_hangs_is_named_as_long_as_it_is_connected(commands, client):
    note_both(client)
    hanging = ProcessNote(load_settings(), "worker", "celery@b")
    hanging.write()
    client.zremrangebyscore("processes:", "-inf", "inf")
    note_both(client)
    (entry,) = [c for c in client.client_list() if c["name"].startswith("rowcache-worker:celery@b:")]
    assert commands.health()[0] == 0, "a connection that is new is not one that hangs"
    hanging.erase()
    assert entry["name"] not in {c["name"] for c in client.client_list()}


def test_worker_whose_batch_does_not_end(commands, client):
    note(client, "dispatcher", "beat@a")
    note(client, running_s=45)
    status, (line,) = commands.health()
    assert status == 1
    assert line.startswith("worker celery@a (process 7) runs one batch for 45.0 s, longer than a lease: look at the")


def test_worker_that_is_idle_while_a_batch_waits(commands, client):
    note_both(client)
    client.zadd("queue:", {"x": client.time()[0] - 50})
    assert commands.health()[0] == 0, "the queue is empty: the batch was lost with its broker"
    commands.broker.lpush("rowcache.refresh", "batch")
    status, (line,) = commands.health()
    assert status == 1
    assert line.startswith("worker celery@a (process 7) is idle while a batch waits for 5")


def test_changes_that_wait_although_a_worker_runs(commands, client):
    note_both(client)
    commands.enqueue_change(90)
    status, (line,) = commands.health()
    assert (status, line[:66]) == (0, "queue rowcache.schedule: 1 schedule change waits, the oldest for 9")
    queue = json.loads(commands.run("status", "--json").stdout)["queues"]["rowcache.schedule"]
    assert (queue["length"], queue["consumers"]) == (1, 1)
    assert 89 < queue["oldest_s"] < 120


def test_message_without_a_stamp_is_of_unknown_age(commands, client):
    note_both(client)
    commands.broker.lpush("rowcache.schedule", "no message")
    queue = json.loads(commands.run("status", "--json").stdout)["queues"]["rowcache.schedule"]
    assert queue == {"length": 1, "oldest_s": None, "consumers": 1}
    assert "queue rowcache.schedule: 1 change waiting, oldest unknown, 1 worker\n" in commands.run("status").stdout


@pytest.mark.parametrize(("failing", "status"), [(3, 1), (1, 0)])
def test_table_whose_rows_fail(commands, client, schedule, failing, status):
    note_both(client)
    rows = [str(n) for n in range(3)]
    schedule.put_rows(dict.fromkeys(rows, (5, 0)))
    schedule.release_rows(schedule.claim_rows(10, 30)[0], dict.fromkeys(rows[:failing], "no column 'x'"), Backoff())
    found, (line,) = commands.health()
    assert found == status
    share = "all 3 rows" if failing == 3 else "33 %: 1 row"
    assert line == (
        f"inv: {share} failed when refreshed last (no column 'x'): celery -A rowcache_tasks rowcache errors inv"
    )


def test_processes_that_redis_refuses(commands, client, schedule):
    refused = "ACL failure in script: User worker has no permissions to run the 'zadd' command"
    note(client, "dispatcher", "beat@a")
    for name in ("celery@a", "celery@b"):
        note(client, name=name, refused=refused)
    schedule.put_rows({"1": (5, 0)})
    status, (line,) = commands.health()
    assert status == 1
    assert line == (
        f"worker celery@a (process 7), worker celery@b (process 7): Redis refuses: {refused}: allow it to this login "
        "(deploy/users.sh), or look at the keys with celery -A rowcache_tasks rowcache doctor"
    )
    assert line in commands.run("errors").stderr, "these rows have no record"
    assert line in commands.run("get", "inv", "1").stderr
    schedule.claim_rows(1, 30)
    assert commands.run("explain", "inv", "1").stdout.startswith(f"row 1 of inv: refused: {line}\n")


@pytest.mark.parametrize(
    ("key", "unknown"), [("processes:", "which processes are alive"), ("queue:", "how many batches wait")]
)
def test_key_of_all_tables_that_another_program_has_made(commands, client, schedule, key, unknown):
    schedule.put_rows({"1": (5, 0)})
    note_both(client)
    schedule.claim_rows(1, 30)
    client.delete(key)
    client.set(key, "hostile")
    status, (line,) = commands.health()
    assert status == 1
    assert line == (
        f"key '{key}' cannot be read, so it is not known {unknown}: another program writes there: "
        "remove it (RENAME keeps what is in it), or allow it to this login (deploy/users.sh)"
    )
    assert commands.run("explain", "inv", "1").exit_code == 0


def test_broker_that_is_away(commands, client):
    note_both(client)
    commands.app = Celery("rowcache_tasks", broker="redis://:secret@127.0.0.1:1/0", set_as_current=False)
    done = commands.run("health")
    assert done.exit_code == 1
    assert done.stderr.startswith("rowcache_tasks: broker: the broker does not answer: ")
    assert "secret" not in done.output


def test_queue_that_nobody_looked_at_is_not_called_ok(commands, client):
    note_both(client)
    commands.app = None
    done = commands.run("health")
    assert done.exit_code == 0
    assert done.stdout == "warn: broker: not checked: start this as celery -A rowcache_tasks rowcache health\n"


def test_paused_table_says_so_to_who_misses_a_row(commands, client, schedule):
    note_both(client)
    schedule.put_rows({"1": (5, 0)})
    assert commands.run("pause", "inv").exit_code == 0
    assert "; inv: paused for " in commands.run("get", "inv", "1").stderr


def test_status_fits_80_columns_whatever_is_wrong(commands, client, schedule):
    note(client, queues=[], name="celery@" + "x" * 70)
    schedule.put_rows({"1": (5, -99)})
    schedule.release_rows(schedule.claim_rows(10, 30)[0], {"1": "y" * 200}, Backoff())
    lines = commands.run("status").stdout.splitlines()
    assert [line for line in lines if len(line) > 80 and "yyy" not in line and "xxx" not in line] == []
