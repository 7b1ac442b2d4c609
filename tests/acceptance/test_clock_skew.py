"""A machine whose clock is wrong by an hour, under real processes. Needs libfaketime, which .ci/run installs."""

import json
import time
from pathlib import Path

import pytest
from support.project import ROOT
from support.waiting import wait_until

from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance

LIBRARY = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
HOUR = 3600
SETTINGS = f"""
from celeryconfig import *
beat_schedule = {{"half hourly": {{"task": "celery.accumulate", "schedule": {HOUR / 2}}}}}
"""


def skewed(seconds):
    """Return the environment of a process on a machine whose clock is so many seconds ahead."""
    if LIBRARY is None:
        pytest.skip("needs libfaketime (Debian: apt install libfaketime)")
    real = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
    return {"LD_PRELOAD": LIBRARY, "FAKETIME": f"{seconds:+d}s"} | real


@pytest.mark.parametrize(("worker_s", "dispatcher_s"), [(HOUR, -HOUR), (-HOUR, HOUR)])
def test_clocks_that_are_wrong_by_an_hour_delay_no_row_and_repeat_no_message(deployment, worker_s, dispatcher_s):
    (deployment.folder / "skewed_settings.py").write_text(SETTINGS)
    deployment.env["CELERY_CONFIG_MODULE"] = "skewed_settings"
    deployment.env["PYTHONPATH"] = f"{ROOT}:{ROOT}/tests/support/faked_clock:{deployment.folder}"
    broker = connect(deployment.valkey.url_for(1), "test")
    broker.hset("unacked", "tag", json.dumps([{}, "rowcache.schedule", "rowcache.schedule"]))
    broker.zadd("unacked_index", {"tag": time.time()})
    deployment.client.hset("beat:", "half hourly", time.time() - HOUR / 4)
    deployment.start_worker(**skewed(worker_s))
    deployment.start_beat(**skewed(dispatcher_s))
    deployment.run("from rowcache_tasks.tasks import schedule_row; schedule_row.delay('inv', '1', 0.25)")
    wait_until(lambda: deployment.client.get("inv:1"), "the row is cached")
    refreshed = deployment.stat("unchanged")
    ages = []

    def is_looked_at():
        seconds, micros = deployment.client.time()
        ages.append(seconds + micros / 1e6 - deployment.client.zscore("refreshed:", "1"))
        return deployment.stat("unchanged") >= refreshed + 20

    wait_until(is_looked_at, "the row is refreshed again and again")
    assert max(ages) < HOUR / 4, "an hour would show"
    assert broker.hkeys("unacked") == [b"tag"], "a message that was fetched just now is not delivered again"
    assert "half hourly" not in deployment.log("beat"), "an entry is due in a quarter of an hour"
    broker.close()
