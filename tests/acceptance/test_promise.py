"""Promise of a table while its worker is killed and comes back."""

import json

import pytest
from support.fork_server import run_forked
from support.project import CELERY
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance


def test_promise_is_at_risk_then_broken_then_kept_when_a_worker_is_killed_and_started(deployment):
    deployment.env["ROWCACHE_TABLES"] = json.dumps({"inv": {"table": "inventory", "max_staleness": 3, "target": 0.9}})

    def state():
        done = run_forked([*CELERY, "rowcache", "status", "--json"], env=deployment.env_of("operator"))
        found = json.loads(done.stdout)["tables"]["inv"]["promise"]
        seen.append((found["state"], found["cause"]))
        return found["state"]

    seen = []
    assert state() is None
    deployment.start_beat()
    worker = deployment.start_worker()
    deployment.schedule.put_rows({str(n): (3600, 0) for n in range(1, 101)})
    wait_until(lambda: state() == "kept", "all rows are fresh")
    worker.kill()
    wait_until(lambda: state() == "broken", "no row is fresh")
    assert seen[-1][1], "with its cause"
    deployment.start_worker("second")
    wait_until(lambda: state() == "kept", "all rows are fresh again")
    refreshed = deployment.client.zrange("refreshed:", 0, 0, withscores=True)[0][1]
    assert deployment.client.time()[0] - refreshed < 3 + 5
