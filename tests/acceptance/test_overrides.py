"""A deployment on a Celery and a kombu that the overrides of this package were not tested with."""

import pytest
from support.deployment import ROOT, wait_until
from support.overrides import OVERRIDES, REPLACED_UPSTREAM

pytestmark = pytest.mark.acceptance


def test_rows_are_refreshed_when_every_override_steps_aside(deployment):
    deployment.env["PYTHONPATH"] = f"{ROOT}:{REPLACED_UPSTREAM}"
    deployment.env["REPLACED"] = " ".join(OVERRIDES.values())
    worker = deployment.start_worker()
    deployment.start_beat()
    deployment.schedule.put_rows({"1": (3600, 0)})
    wait_until(lambda: deployment.client.get("inv:1"), "the row is refreshed")
    for name in OVERRIDES:
        assert deployment.log("worker").count(f"override_off: {name} ") == 1
    worker.stop(timeout=60)
    assert worker.poll() == 0
