"""The events of a worker that stops: those that it held back, and those of the batches that end meanwhile."""

import base64
import json
import os
import signal

import psycopg
import pytest
from support.waiting import wait_until

from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def listener(deployment):
    """Hears the events as Flower does."""
    client = connect(deployment.valkey.url_for(1), "test")
    with client.pubsub() as listener:
        listener.psubscribe("/1.celeryev/*")
        yield listener
    client.close()


def kinds_heard(listener):
    """Name the kinds of the events sent so far: the server answers a question after them."""
    listener.ping()
    kinds = []
    while (heard := listener.get_message(timeout=60)) and heard["type"] != "pong":
        if heard["type"] == "pmessage":
            events = json.loads(base64.b64decode(json.loads(heard["data"])["body"]))
            kinds += [event["type"] for event in (events if isinstance(events, list) else [events])]
    assert heard, "the server answers"
    return kinds


@pytest.mark.parametrize(
    ("pool", "stops"),
    [("prefork", "gave back"), ("threads", "gave back"), ("solo", "Warm shutdown")],
    ids=["prefork", "threads", "solo, which stops after the batch"],
)
def test_no_event_of_a_batch_is_lost_that_runs_when_its_worker_is_told_to_stop(deployment, listener, pool, stops):
    deployment.env["ROWCACHE_LEASE"] = "60"
    deployment.start_beat()
    worker = deployment.start_worker("worker", "--concurrency=1", f"--pool={pool}")
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
    with psycopg.connect(deployment.database_url.replace("+psycopg", "")) as connection:
        connection.execute("LOCK TABLE inventory IN ACCESS EXCLUSIVE MODE")
        deployment.schedule.put_rows({"1": (3600, 0)})
        wait_until(lambda: deployment.sql(WAITING) == [(1,)], "a batch is running")
        os.kill(worker.pid, signal.SIGTERM)
        wait_until(lambda: stops in deployment.log("worker"), "the worker has heard of it")
    assert worker.wait(90) == 0
    kinds = kinds_heard(listener)
    assert [kinds.count(kind) for kind in ("task-received", "task-started", "task-succeeded")] == [1, 1, 1], kinds
