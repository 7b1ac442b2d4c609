"""The operator asks real processes and a real database why a row is as it is, and whether the cache is right."""

import json

import pytest
from support.fork_server import run_forked
from support.project import CELERY
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance


@pytest.fixture
def rowcache(deployment):
    """Run a command with --json; return its exit status and the object."""

    def rowcache(*arguments):
        done = run_forked([*CELERY, "rowcache", *arguments, "--json"], env=deployment.env_of("operator"))
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return rowcache


def test_reasons_and_differences_while_processes_come_and_go(deployment, rowcache):
    def reason(row_id):
        return rowcache("explain", "inv", row_id)[1]["reason"]

    deployment.schedule.put_rows({"1": (2, 0), "2": (2, 0), "abc": (2, 0), "4711": (2, 0)})
    beat = deployment.start_beat()
    wait_until(lambda: deployment.stat("claimed") >= 4, "the rows are claimed")
    assert reason("1") == "no_worker"
    figures = rowcache("status")[1]["tables"]["inv"]
    assert (figures["age_max"], figures["never_refreshed"]) == (None, 4), "claimed is not refreshed"
    worker = deployment.start_worker()
    wait_until(lambda: deployment.client.hlen("failures:") == 2, "two rows fail")
    wait_until(lambda: deployment.client.exists("inv:1", "inv:2") == 2, "the others are cached")
    wait_until(lambda: reason("abc") == "failing", "it fails, and the worker is known")
    figures = rowcache("status")[1]["tables"]["inv"]
    assert 0 <= figures["age_p50"] <= figures["age_max"] < 60
    deployment.run("from rowcache_tasks.tasks import audit_table; audit_table.delay('inv')")
    wait_until(lambda: deployment.stat("audited"), "a worker has compared the rows")
    deployment.client.hset("state:", "paused", deployment.client.time()[0])
    worker.stop()
    beat.stop()
    deployment.sql("UPDATE inventory SET stock = 1 WHERE id = 1")
    deployment.client.zincrby("refreshed:", -60, "1")
    deployment.client.zincrby("schedule:", -60, "1")
    assert reason("1") == "paused"
    status, found = rowcache("audit", "inv")
    wrong = {row["row_id"]: row["kind"] for row in found["rows"] if row["kind"] != "older_within_interval"}
    assert (status, wrong) == (1, {"1": "older_than_promised", "abc": "unreadable"})
    assert deployment.refusals() == ["operator: command scan (toplevel)"], "which it can do without"
    deployment.client.acl_log_reset()
