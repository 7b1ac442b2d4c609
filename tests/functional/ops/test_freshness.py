"""Freshness of a table: the same ages in status, --json, health, doctor and the metrics."""

import json
from types import SimpleNamespace

import pytest
from celery import Celery
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest
from support.noted import note_both
from support.settings_module import write_settings

from rowcache_tasks.config.settings import load_settings
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.ops.metrics import RowCacheCollector
from rowcache_tasks.schedule.rows import Backoff

NAMES = ("age_p50", "age_p99", "age_p999", "age_max", "never_refreshed")


@pytest.fixture
def run(client, valkey, monkeypatch, tmp_path):
    """Run a command in this process."""
    write_settings(monkeypatch, tmp_path, valkey.url_for(9))
    note_both(client)
    return lambda *arguments, app=None: CliRunner().invoke(rowcache, list(arguments), obj=SimpleNamespace(app=app))


@pytest.fixture
def freshness(run):
    """The five figures of `status --json`, ages rounded to 10 s."""

    def read():
        inv = json.loads(run("status", "--json").stdout)["tables"]["inv"]
        return [inv[name] if inv[name] is None or name == NAMES[-1] else round(inv[name], -1) for name in NAMES]

    return read


def commit(schedule, *row_ids):
    schedule.put_rows(dict.fromkeys(row_ids, (100, 0)))
    schedule.commit_rows(schedule.claim_rows(10, 30)[0], dict.fromkeys(row_ids, b"{}"))


def test_ages_are_those_that_each_share_of_the_rows_does_not_exceed(client, schedule, run, freshness, valkey):
    commit(schedule, "0")
    now = client.time()[0]
    client.zadd("refreshed:", {str(n): now - 10 * n for n in range(2000)})
    client.zadd("schedule:", {str(n): now + 60 for n in range(2003)})
    assert freshness() == [9990, 19790, 19970, 19990, 3]
    lines = [" ".join(line.split()) for line in run("status").stdout.splitlines()]
    inv = lines[1 + lines.index("TABLE AGE P50 P99 P99.9 OLDEST NEVER COMMITTED LAST")]
    assert inv.split()[:10] == ["inv", "2.8", "h", "5.5", "h", "5.5", "h", "5.6", "h", "3"]
    app = Celery("rowcache_tasks", broker=valkey.broker_url(8), set_as_current=False)
    ages = "age p50 2.8 h, p99 5.5 h, p99.9 5.5 h, oldest 5.6 h, 3 rows never refreshed"
    assert f", {ages}; 1 dispatcher; 1 worker" in run("health", app=app).stdout
    assert ages in run("doctor").stdout
    registry = CollectorRegistry()
    registry.register(RowCacheCollector(client, load_settings()))
    scraped = generate_latest(registry).decode()
    assert 'rowcache_never_refreshed_rows{table="inv"} 3.0' in scraped
    for quantile in ("0.5", "0.99", "0.999", "1"):
        assert f'rowcache_age_seconds{{quantile="{quantile}",table="inv"}} ' in scraped


def test_row_that_was_only_claimed_is_not_fresh(schedule, freshness):
    schedule.put_rows({"1": (100, 0), "2": (100, 0)})
    assert freshness() == [None, None, None, None, 2]
    claim, _ = schedule.claim_rows(1, 30)
    assert freshness() == [None, None, None, None, 2]
    schedule.commit_rows(claim, {claim.row_ids[0]: b"{}"})
    schedule.release_rows(schedule.claim_rows(1, 30)[0], {"2": "no"}, Backoff())
    assert freshness() == [0, 0, 0, 0, 1]


def test_refresh_from_before_a_step_back_of_the_clock_is_no_age(client, schedule, freshness):
    commit(schedule, "1", "2")
    future = client.time()[0] + 3600
    client.zadd("refreshed:", {"1": future})
    assert freshness() == [0, 0, 0, 0, 1]
