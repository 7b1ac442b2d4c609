"""A process that cannot work does not start: one line that names the setting, and exit status 1."""

import subprocess
import sys

import pytest
from support.fork_server import run_forked
from support.project import CELERY, ROOT
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance


@pytest.fixture
def refuse(deployment):
    def refuse(program, settings="", **env):
        """Start a program that is to stop at once; returns the lines of its last words."""
        if settings:
            (deployment.folder / "wrong_settings.py").write_text(f"from celeryconfig import *\n{settings}\n")
            env |= {"CELERY_CONFIG_MODULE": "wrong_settings", "PYTHONPATH": f"{deployment.folder}:{ROOT}"}
        done = run_forked(
            [*CELERY, "--quiet", program, *(["--pidfile="] if program == "beat" else [])],
            env=deployment.env | {"ROWCACHE_START_TIMEOUT": "1"} | env,
        )
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr.strip().splitlines()

    return refuse


@pytest.mark.parametrize("program", ["worker", "beat"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("rowcache_tabels = {}", "unknown setting rowcache_tabels: did you mean rowcache_tables?"),
        ("task_compression = 'gzip'", "task_compression is 'gzip': allowed is None"),
        (
            "broker_url = 'rediss+cluster://u:secret@host'; import os; os.environ.pop('CELERY_BROKER_URL')",
            "broker_url is 'rediss+cluster://***@host': Celery cannot use a Redis Cluster as its broker",
        ),
    ],
)
def test_wrong_setting_stops_worker_and_dispatcher(refuse, program, settings, message):
    (line,) = refuse(program, settings)
    assert line.startswith(f"rowcache_tasks: {message}")


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ("{'inv': {'table': 'inventroy'}}", "rowcache_tables['inv']"),
        ("{'inv': {'table': 'inventory', 'columns': ['id', 'pirce']}}", "rowcache_tables['inv']"),
        ("{'inv': {'table': 'inventory', 'key': 'idd'}}", "rowcache_tables['inv']"),
    ],
)
def test_unknown_table_or_column_stops_a_worker(refuse, tables, message):
    (line,) = refuse("worker", f"rowcache_tables = {tables}")
    assert line.startswith(f"rowcache_tasks: {message}")
    assert "inventory" in line or "id" in line, "says what there is"


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_unreachable_redis_is_waited_for_visibly_then_stops(refuse, program):
    first, *_, last = refuse(program, ROWCACHE_REDIS_URL="redis://:secret@127.0.0.1:1/0", ROWCACHE_START_TIMEOUT="3")
    assert first.startswith("rowcache_tasks: waiting for Redis at redis://***@127.0.0.1:1/0 (")
    assert last.startswith("rowcache_tasks: Redis at redis://***@127.0.0.1:1/0 cannot be reached after 3 s: ")


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_unreachable_broker_is_waited_for_visibly_then_stops(refuse, program):
    first, *_, last = refuse(program, CELERY_BROKER_URL="redis://:secret@127.0.0.1:1/0", ROWCACHE_START_TIMEOUT="8")
    assert first.startswith("rowcache_tasks: waiting for the broker at redis://***@127.0.0.1:1/0 (")
    assert last.startswith("rowcache_tasks: the broker at redis://***@127.0.0.1:1/0 cannot be reached after 8 s: ")


def test_unreachable_database_is_waited_for_visibly_then_stops_a_worker(refuse):
    url = "postgresql+psycopg://user:secret@127.0.0.1:1/shop"
    first, *_, last = refuse("worker", ROWCACHE_DATABASE_URL=url, ROWCACHE_START_TIMEOUT="8")
    assert first.startswith("rowcache_tasks: waiting for the database at postgresql+psycopg://***@127.0.0.1:1/shop (")
    assert last.startswith(
        "rowcache_tasks: the database at postgresql+psycopg://***@127.0.0.1:1/shop cannot be reached"
    )
    assert "secret" not in last


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "rowcache_database_url is not set"),
        ("no url", "rowcache_database_url is "),
        ("nosuch://host/db", "rowcache_database_url is "),
    ],
)
def test_database_url_that_cannot_be_meant_stops_a_worker(refuse, url, message):
    (line,) = refuse("worker", ROWCACHE_DATABASE_URL=url)
    assert line.startswith(f"rowcache_tasks: {message}")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nosuch://host", "No such transport: nosuch"),
        ("redis://host:99999/0", "Port out"),
        ("redis://h/abc", "Database"),
    ],
)
def test_broker_url_that_celery_cannot_read_stops_a_dispatcher(refuse, url, reason):
    (line,) = refuse("beat", CELERY_BROKER_URL=url)
    assert line.startswith(f"rowcache_tasks: broker_url is '{url}': {reason}")


def test_node_of_a_redis_cluster_is_refused_as_broker_and_as_cache(refuse, deployment):
    with Valkey(args=("--cluster-enabled", "yes")) as node:
        (line,) = refuse("beat", CELERY_BROKER_URL=node.broker_url())
        assert "found a node of a Redis Cluster" in line
        (line,) = refuse("beat", ROWCACHE_REDIS_URL=node.url)
        assert "is a Redis Cluster: found cluster_enabled:1" in line


def test_dispatcher_warns_when_redis_may_evict_the_schedule(deployment):
    deployment.client.config_set("maxmemory", "100mb")
    deployment.client.config_set("maxmemory-policy", "allkeys-lru")
    deployment.start_beat()
    wait_until(lambda: "maxmemory-policy is allkeys-lru, use noeviction" in deployment.log("beat"), "it warned")


WRONG_CALLS = {
    "schedule_row.delay('nope', '1', 5)": "ArgumentError: table 'nope' is not in rowcache_tables: found 'inv'",
    "schedule_row.delay('inv', '', 5)": "ArgumentError: row id is ''",
    "schedule_row.delay('inv', '1', float('nan'))": "ArgumentError: delay is nan: it must be a finite number",
    "schedule_row.delay('inv', '1', '5')": "ArgumentError: delay is '5'",
    "schedule_rows.delay('inv', ['1'])": "ArgumentError: delays is ['1']: it must be a dictionary",
    "unschedule_rows.delay('inv', None)": "ArgumentError: row_ids is None",
    "refresh_now.delay('inv', [''])": "ArgumentError: row id is ''",
    "schedule_table.delay('inv', -1)": "ArgumentError: delay is -1",
    "schedule_row.delay('inv', '1')": "ArgumentError: schedule_row: missing a required argument: 'delay'",
    # Called in place, as the worker does.
    "schedule_row('inv', '1', -1)": "ArgumentError: delay is -1",
    "unschedule_row('nope', '1')": "ArgumentError: table 'nope'",
}
CALL_ALL = """
import traceback
from rowcache_tasks.tasks import *
for call in {calls}:
    try:
        print("no error:", eval(call))
    except Exception:
        print(traceback.format_exc().splitlines()[-1])
"""


def test_bad_argument_is_a_clear_error_that_changes_nothing(deployment):
    shown = deployment.run(CALL_ALL.format(calls=list(WRONG_CALLS))).splitlines()
    found = dict(zip(WRONG_CALLS, shown, strict=True))
    assert {call: line for call, line in found.items() if WRONG_CALLS[call] not in line} == {}
    assert deployment.client.keys("*") == []
    broker = connect(deployment.valkey.url_for(1), "test")
    assert broker.keys("rowcache*") == []
    broker.close()


@pytest.mark.parametrize(
    "command", [["worker"], ["beat", "--pidfile="], ["flower"], ["inspect", "ping"], ["rowcache", "status"]]
)
def test_missing_configuration_module_is_one_line_of_every_command(deployment, command):
    done = run_forked([*CELERY, *command], env=deployment.env | {"CELERY_CONFIG_MODULE": "not_there"})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("rowcache_tasks: configuration module 'not_there' was not found in ")


def test_settings_of_the_user_win(deployment):
    (deployment.folder / "own_settings.py").write_text(
        "from celeryconfig import *\nfrom kombu import Queue\ntask_queues = [Queue('shop')]\n"
        "broker_connection_max_retries = 7\nbeat_scheduler = 'celery.beat:PersistentScheduler'\n"
    )
    env = {"CELERY_CONFIG_MODULE": "own_settings", "PYTHONPATH": f"{deployment.folder}:{ROOT}"}
    show = "c = app.conf; print([q.name for q in c.task_queues], c.broker_connection_max_retries, c.beat_scheduler)"
    assert deployment.run(f"from rowcache_tasks.celery import app; {show}", **env) == (
        "['shop', 'rowcache.refresh', 'rowcache.schedule'] 7 celery.beat:PersistentScheduler"
    )


URLS = ("sentinel://127.0.0.1:1/0", "redis://127.0.0.1:port/0", "http://127.0.0.1/")


@pytest.mark.parametrize(
    ("command", "urls"), [(["worker"], URLS), (["inspect", "ping"], URLS[:1]), (["flower", "--port=0"], URLS[1:2])]
)
def test_malformed_url_of_the_broker_is_one_line_of_every_command(deployment, command, urls):
    for url in urls:
        done = run_forked([*CELERY, "--quiet", *command], env=deployment.env | {"CELERY_BROKER_URL": url})
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), (url, done.stderr)
        assert done.stderr.startswith("rowcache_tasks: broker_url is ")


def test_missing_configuration_module_is_named(deployment):
    command = [sys.executable, "-c", "from rowcache_tasks import RowCache; RowCache('inv')"]
    done = run_forked(command, env=deployment.env | {"CELERY_CONFIG_MODULE": "not_there"}, cwd=deployment.folder)
    assert "configuration module 'not_there' was not found" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_too_few_connections_stop_worker_and_dispatcher(refuse, deployment, program):
    (line,) = refuse(program, ROWCACHE_REDIS_URL=deployment.env["ROWCACHE_REDIS_URL"] + "&max_connections=2")
    assert line.endswith("max_connections is 2, and a process needs 3 or more: leave it out")


def test_dispatcher_has_nothing_of_its_start_left_for_the_garbage_collector(deployment):
    program = (
        "import gc; from rowcache_tasks.celery import app; from rowcache_tasks.beat import DispatchScheduler; "
        "DispatchScheduler(app); print(gc.get_freeze_count() > 10_000 > len(gc.get_objects()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=deployment.env, cwd=ROOT, capture_output=True, check=True, timeout=180
    )
    assert done.stdout == b"True\n"
