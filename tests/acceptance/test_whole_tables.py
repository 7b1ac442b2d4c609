"""The tasks of whole tables, with a real dispatcher, a real worker and the roles of deploy/users.sh."""

import json

import pytest
from support.waiting import wait_until

from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance

HOT = "SELECT id, CASE id WHEN 1 THEN 1800 END FROM inventory WHERE id <= 10"
TABLES = {"inv": {"table": "inventory", "queries": {"hot": HOT}}}


@pytest.fixture
def shop(deployment):
    """The deployment with a query, a dispatcher and a worker; and a function that calls a task as an application."""
    deployment.env["ROWCACHE_TABLES"] = json.dumps(TABLES)
    deployment.start_beat()
    deployment.start_worker()
    return deployment


def call(deployment, task, *arguments):
    deployment.run(f"from rowcache_tasks.tasks import {task}; {task}.delay(*{arguments!r})")


def result(deployment, task):
    """What the worker logged of the only run of a task that returns something."""
    return deployment.log("worker").rpartition(f"{task}[")[2].partition("succeeded in ")[2].partition("\n")[0]


def wait_for(deployment, task, expected):
    wait_until(lambda: expected in result(deployment, task), f"{task} returns {expected}")


def test_table_is_warmed_up_reconciled_paused_and_dropped_by_tasks(shop):
    client = shop.client
    call(shop, "schedule_query", "inv", "hot", 3600)
    wait_for(shop, "schedule_query", "{'applied': 10, 'ignored': 0}")
    assert client.zscore("delay:", "1") == 1800
    assert client.zscore("delay:", "2") == 3600

    client.zadd("delay:", {"4711": 3600})
    client.zadd("schedule:", {"4711": 4e9})
    client.set("inv:4711", "{}")
    call(shop, "reconcile_table", "inv", 5)
    wait_for(shop, "reconcile_table", "{'added': 990, 'dropped': 1, 'kept': 10}")
    assert client.zcard("schedule:") == 1000
    assert not client.exists("inv:4711")
    wait_until(lambda: len(client.keys("inv:*")) >= 990, "the rows are refreshed")

    call(shop, "pause_table", "inv")
    wait_for(shop, "pause_table", "{'applied': 1, 'ignored': 0}")
    wait_until(lambda: not broker_length(shop) and not client.zcard("queue:"), "what was sent is refreshed")
    shop.sql("UPDATE inventory SET stock = 7 WHERE id = 1")
    client.zadd("schedule:", {"1": 0})
    claimed = shop.stat("claimed")
    wait_until(lambda: len(client.zrange("schedule:", 0, client.time()[0], byscore=True)) > 500, "rows are due")
    assert shop.stat("claimed") == claimed
    assert b'"stock":0' in client.get("inv:1")

    call(shop, "resume_table", "inv")
    wait_until(lambda: b'"stock":7' in (client.get("inv:1") or b""), "the row is refreshed")

    call(shop, "drop_table", "inv")
    wait_for(shop, "drop_table", "{'dropped': 1000, 'kept': 0}")
    wait_until(lambda: not broker_length(shop) and not client.zcard("queue:"), "refreshes in flight are done")
    assert client.keys("inv:*") == []
    assert client.exists("schedule:", "delay:", "refreshed:", "failures:") == 0


def broker_length(deployment):
    with connect(deployment.valkey.url_for(1), "test") as broker:
        return broker.llen("rowcache.refresh")


COMMANDS = """
from click.testing import CliRunner
from rowcache_tasks.ops.cli import rowcache
for command in ("schedule-table inv 3600", "reconcile inv 60", "pause inv", "resume inv", "drop-table inv --yes"):
    print(CliRunner().invoke(rowcache, command.split()).output, end="")
"""


def test_commands_need_no_worker_and_only_what_an_operator_may(deployment):
    lines = deployment.run(COMMANDS, role="operator").splitlines()
    assert lines.pop(3).startswith("inv: resumed; it was paused for ")
    assert lines == [
        "inv: 1,000 rows scheduled",
        "inv: 0 rows added, every 60 s; 0 dropped; 1,000 kept",
        "inv: paused; batches that were sent before are still refreshed",
        "inv: 1,000 rows not cached any more",
    ]


def test_worker_with_a_query_that_cannot_be_run_does_not_start(deployment):
    tables = {"inv": {"table": "inventory", "queries": {"hot": "SELECT nope FROM inventory"}}}
    worker = deployment.start_worker(ROWCACHE_TABLES=json.dumps(tables))
    assert wait_until(worker.poll, "the worker has ended") == 1
    assert "rowcache_tables['inv']['queries']['hot']: cannot run the statement: column" in deployment.log("worker")
