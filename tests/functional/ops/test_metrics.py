import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from urllib.request import urlopen

import msgspec
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.parser import text_string_to_metric_families
from support.project import CELERY, ROOT
from support.settings_module import write_settings

import rowcache_tasks
from rowcache_tasks.config.settings import Settings, Table
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.ops.metrics import RowCacheCollector
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.process import Process
from rowcache_tasks.schedule.rows import Backoff

INV = Table("inv", "inventory")
USERS = Table("users", "users", namespace="users")


def settings_of(*tables):
    return Settings(redis_url="redis://unused", tables={table.name: table for table in tables})


@pytest.fixture
def registry(client):
    registry = CollectorRegistry()
    registry.register(RowCacheCollector(client, settings_of(INV, USERS)))
    return registry


def scrape(registry):
    """Every sample as (name, labels) -> value."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(registry, name, **labels):
    return scrape(registry)[name, frozenset(({"table": "inv"} | labels).items())]


def commit(schedule, *row_ids):
    schedule.put_rows(dict.fromkeys(row_ids, (100, 0)))
    schedule.commit_rows(schedule.claim_rows(10, 30)[0], dict.fromkeys(row_ids, b"{}"))


def test_gauges_tell_the_state_of_each_table(registry, schedule):
    commit(schedule, "1", "2")
    schedule.put_rows({"3": (10, -60), "4": (10, 0)})
    claim, _ = schedule.claim_rows(1, 30)
    schedule.release_rows(claim, {"3": "no"}, Backoff())
    assert scrape(registry)["rowcache_up", frozenset()] == 1
    assert value(registry, "rowcache_scheduled_rows") == 4
    assert value(registry, "rowcache_overdue_rows") == 1
    assert 0 < value(registry, "rowcache_overdue_seconds") < 30
    assert value(registry, "rowcache_failing_rows") == 1
    assert 0 < value(registry, "rowcache_waiting_seconds") < 30
    assert value(registry, "rowcache_scheduled_rows", table="users") == 0


def test_time_of_the_last_commit_is_absent_before_the_first(registry, schedule, client):
    labels = frozenset({("table", "inv")})
    assert ("rowcache_last_commit_timestamp_seconds", labels) not in scrape(registry)
    commit(schedule, "1")
    assert abs(value(registry, "rowcache_last_commit_timestamp_seconds") - client.time()[0]) < 10


def test_outcomes_are_counters(registry, schedule):
    commit(schedule, "1", "2")
    schedule.drop_rows(["1"])
    assert value(registry, "rowcache_claimed_total") == 2
    assert value(registry, "rowcache_refreshed_total") == 2
    assert value(registry, "rowcache_dropped_total") == 1
    for outcome in ("unchanged", "superseded", "missing", "failed"):
        assert value(registry, f"rowcache_{outcome}_total") == 0


def test_lateness_is_a_histogram_with_exact_cumulative_buckets(registry, client):
    # Classes of 2^(class / 4) ms: 0 is up to 1 ms, 4 up to 2 ms, 5 up to 2.4 ms, 40 up to 1.024 s, 160 beyond the last.
    client.hset("stats:", mapping={"late:0": 1, "late:4": 10, "late:5": 100, "late:40": 1000, "late:160": 10000})
    buckets = {le: value(registry, "rowcache_lateness_seconds_bucket", le=le) for le in ("0.001", "0.002", "0.004")}
    assert buckets == {"0.001": 1, "0.002": 11, "0.004": 111}
    assert value(registry, "rowcache_lateness_seconds_bucket", le="0.512") == 111
    assert value(registry, "rowcache_lateness_seconds_bucket", le="1.024") == 1111
    assert value(registry, "rowcache_lateness_seconds_bucket", le="262.144") == 1111
    assert value(registry, "rowcache_lateness_seconds_bucket", le="+Inf") == 11111
    labels = frozenset({("table", "inv")})
    assert ("rowcache_lateness_seconds_sum", labels) not in scrape(registry), "classes alone have no exact sum"


def test_lateness_has_a_count_and_the_exact_sum(registry, schedule, client):
    schedule.put_rows({"1": (100, 0), "2": (100, 0)})
    claim = replace(schedule.claim_rows(10, 30)[0], late_ms=1500)
    schedule.commit_rows(claim, dict.fromkeys(("1", "2"), b"{}"))
    assert value(registry, "rowcache_lateness_seconds_count") == 2
    late_s = int(client.hget("stats:", "late_us")) / 1e6
    assert value(registry, "rowcache_lateness_seconds_sum") == late_s
    assert 3.0 < late_s < 3.0 + 2 * (client.time()[0] + 1 - float(claim.claimed_at))


def test_no_label_holds_a_row_id(registry, schedule):
    commit(schedule, "secret-row")
    of_infos = {"version", "python", "celery", "deployment", "batch_size", "poll_interval", "max_backoff"}
    labels = {name for _, labels in scrape(registry) for name, _ in labels}
    assert labels == {"table", "queue", "quantile", "le"} | of_infos
    assert "secret-row" not in generate_latest(registry).decode()


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool (apt: prometheus)")
def test_output_follows_the_conventions_of_prometheus(registry, schedule):
    commit(schedule, "1")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_infos_and_limits_are_those_of_the_settings(registry, schedule):
    found = scrape(registry)
    (build,) = (dict(labels) for name, labels in found if name == "rowcache_build_info")
    assert build["version"] == rowcache_tasks.__version__
    (settings,) = (dict(labels) for name, labels in found if name == "rowcache_settings_info")
    assert settings == {"deployment": "", "batch_size": "500", "poll_interval": "0.05", "max_backoff": "60"}
    assert found["rowcache_lease_seconds", frozenset()] == 30
    assert found["rowcache_queue_limit", frozenset({("queue", "rowcache.refresh")})] == 50


def test_figure_that_is_not_measured_is_absent(registry, schedule):
    names = {name for name, _ in scrape(registry)}
    unknown = {"broker_up", "queue_length", "running_batch_seconds", "slow_read_seconds", "age_seconds"}
    assert not names & {f"rowcache_{name}" for name in (*unknown, "failing_ratio", "promise_state")}


def test_process_that_hangs_and_a_batch_that_runs_are_counted(registry, schedule, client):
    client.delete("processes:")
    at = client.time()[0]
    for name, silent_s in (("celery@a", 0), ("celery@b", 30)):
        note = Process(kind="worker", name=name, pid=1, tables=("inv",), running_s=7.0)
        client.zadd("processes:", {msgspec.json.encode(note): at - silent_s})
    found = scrape(registry)
    assert found["rowcache_workers", frozenset()] == 1
    assert found["rowcache_silent_processes", frozenset()] == 1
    assert found["rowcache_running_batch_seconds", frozenset()] == 7
    assert found["rowcache_faults", frozenset()] >= 1
    assert found["rowcache_redis_warnings", frozenset()] == 1, "the test server keeps nothing on disk"


def test_output_is_valid_openmetrics(registry, schedule):
    commit(schedule, "1")
    families = list(parser.text_string_to_metric_families(exposition.generate_latest(registry).decode()))
    assert "rowcache_lateness_seconds" in [family.name for family in families]


def test_redis_that_is_down_is_a_metric_and_not_an_error(caplog):
    registry = CollectorRegistry()
    client = connect("unix:///nowhere/valkey.sock", "test")
    registry.register(RowCacheCollector(client, settings_of(INV)))
    with caplog.at_level(logging.WARNING):
        found = {name for (name, _), value in scrape(registry).items() if value != 0}
    assert found == {"rowcache_build_info", "rowcache_settings_info", "rowcache_lease_seconds", "rowcache_queue_limit"}
    assert "Redis could not be read" in caplog.text


@pytest.fixture
def settings_file(valkey, client, tmp_path, monkeypatch):
    write_settings(monkeypatch, tmp_path, valkey.url_for(9))


def test_missing_extra_is_one_line_with_the_remedy(settings_file, monkeypatch):
    monkeypatch.delitem(sys.modules, "rowcache_tasks.ops.metrics")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    done = CliRunner().invoke(rowcache, ["metrics"])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("rowcache_tasks: metrics needs the module 'prometheus_client'")
    assert line.endswith("pip install 'rowcache-tasks[metrics]'")


def test_port_in_use_is_one_line(settings_file):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(rowcache, ["metrics", "--port", port])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"rowcache_tasks: cannot listen on 127.0.0.1:{port}: ")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_command_serves_until_it_is_told_to_stop(settings_file, schedule, valkey, stop):
    commit(schedule, "1")
    env = {"PYTHONPATH": str(ROOT), "CELERY_BROKER_URL": valkey.broker_url(8), "PYTHONUNBUFFERED": "1"}
    command = [*CELERY, "rowcache", "metrics", "--port", "0"]
    with subprocess.Popen(command, env=os.environ | env, stdout=subprocess.PIPE, text=True) as child:
        line = child.stdout.readline()
        assert line.startswith("metrics of inv on http://127.0.0.1:")
        with urlopen(line.split()[-1]) as answer:
            assert b'rowcache_scheduled_rows{table="inv"} 1.0' in answer.read()
        child.send_signal(stop)
    assert child.returncode == 0


def test_every_metric_is_described_without_redis(client):
    settings = settings_of(INV, USERS)
    described = {metric.name: metric.type for metric in RowCacheCollector(None, settings).describe()}
    assert described == {metric.name: metric.type for metric in RowCacheCollector(client, settings).collect()}
