"""Promise of a table while its worker is killed and comes back."""

import json

import pytest
from support.waiting import wait_until

from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.ops.overview import read_overview
from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance
TABLES = {"inv": {"table": "inventory", "max_staleness": 6, "target": 0.9}}


@pytest.fixture
def look(deployment):
    """Return a look at the promise, with the rights of the operator; it notes state and cause in `look.seen`."""
    deployment.env["ROWCACHE_TABLES"] = json.dumps(TABLES)
    url = deployment.env_of("operator")["ROWCACHE_REDIS_URL"]
    settings = parse_settings({"rowcache_redis_url": url, "rowcache_tables": TABLES})
    with connect(url, "operator") as client:

        def state():
            found = read_overview(client, settings).promises.get("inv")
            if state.seen[-1:] != [(found.state, found.cause)]:
                state.seen.append((found.state, found.cause))
            return found.state

        state.seen = []
        yield state


def test_promise_is_at_risk_then_broken_then_kept_when_a_worker_is_killed_and_started(deployment, look):
    assert look() is None
    deployment.start_beat()
    worker = deployment.start_worker()
    deployment.schedule.put_rows({str(n): (3600, 0) for n in range(1, 101)})
    wait_until(lambda: look() == "kept", "all rows are fresh, for six seconds")
    worker.kill()
    wait_until(lambda: look() == "at risk", "no row will be refreshed", pause_s=0.02)
    wait_until(lambda: look() == "broken", "no row is fresh", pause_s=0.1)
    assert look.seen[-2:] == [("at risk", "no worker is alive"), ("broken", "no worker is alive")]
    deployment.start_worker("second")
    wait_until(lambda: look() == "kept", "all rows are fresh again")
