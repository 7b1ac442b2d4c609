"""Schedule changes as tasks: ordered by when they were enqueued, and not lost while Redis is away."""

import json
import os
import signal

import pytest
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance


@pytest.fixture
def broker(deployment):
    client = connect(deployment.valkey.url_for(1), "test")
    yield client
    client.close()


SEND = """
from rowcache_tasks.tasks import schedule_row
for row in ("1", "2"):
    schedule_row.apply_async(("inv", row, 10), {"stamp": "%s"})
"""


def test_changes_are_kept_while_the_cache_is_away_and_the_log_has_a_line_for_its_begin_and_its_end(deployment):
    with Valkey() as broker:
        env = {"CELERY_BROKER_URL": broker.broker_url()}
        deployment.start_worker(ROWCACHE_LOG_FORMAT="json", **env)
        wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
        stamp = str(deployment.client.time()[0])
        deployment.valkey.kill()
        deployment.run(SEND % stamp, **env)
        wait_until(lambda: "changes_wait" in deployment.log("worker"), "the worker tried")
        deployment.valkey.start()
        wait_until(lambda: deployment.client.zmscore("delay:", ["1", "2"]) == [10, 10], "the changes are applied")
        wait_until(lambda: "changes_resumed" in deployment.log("worker"), "the worker says so")
        lines = [json.loads(line) for line in deployment.log("worker").splitlines() if line.startswith("{")]
        outage = [line for line in lines if line["logger"] == "rowcache_tasks.celery.outage"]
        begin, end = outage[0], outage[-1]
        assert begin["message"].startswith("changes_wait: Redis does not take schedule changes, each is tried again ")
        assert end["changes"] in {1, 2}, "the second may have been sent when Redis was back"
        assert len(outage) <= 4, "of two processes at the same moment, each may log its own"
        assert [line for line in lines if line["level"] != "INFO"] == outage, "and no other one"
        assert "exc_info" not in deployment.log("worker")
        assert not [line for line in lines if {"args", "kwargs", "traceback"} & line.get("data", {}).keys()]


SEND_MANY = """
from rowcache_tasks.tasks import schedule_rows
for n in range(70):
    schedule_rows.delay("inv", {f"%s-{n}-{k}": 3600 for k in range(20)})
"""


def test_threads_of_one_worker_lose_no_change_while_the_cache_is_full_now_and_then(deployment):
    """With `-P threads` all tasks share one pool of connections; the broker is another server."""
    with Valkey() as broker:
        env = {"CELERY_BROKER_URL": broker.broker_url()}
        deployment.start_worker("worker", "--pool=threads", "--concurrency=8", **env)
        wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
        for part in range(3):
            deployment.client.config_set("maxmemory", 1)
            before = refusals(deployment)
            deployment.run(SEND_MANY % part, **env)
            wait_until(lambda n=before: refusals(deployment) > n, "a change is refused")
            deployment.client.config_set("maxmemory", 0)
        wait_until(lambda: is_done(deployment), "all changes are applied")
        assert "raised unexpected" not in deployment.log("worker")


def is_done(deployment):
    return deployment.client.zcard("delay:") == 4200


def refusals(deployment):
    """Count the commands that Redis refused since it has no memory left."""
    return deployment.client.info("errorstats").get("errorstat_OOM", {"count": 0})["count"]


def test_worker_whose_broker_is_full_goes_on_when_there_is_room_again(deployment, broker):
    """Cache and broker are one server, as they are by default."""
    worker = deployment.start_worker()
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
    os.kill(worker.pid, signal.SIGSTOP)
    deployment.run("from rowcache_tasks.tasks import schedule_row\nfor n in '1234': schedule_row.delay('inv', n, 10)")
    deployment.client.config_set("maxmemory", 1)
    os.kill(worker.pid, signal.SIGCONT)
    wait_until(lambda: "OOM" in deployment.log("worker") or "maxmemory" in deployment.log("worker"), "it noticed")
    deployment.client.config_set("maxmemory", 0)
    wait_until(lambda: deployment.client.zcard("delay:") >= 3, "the changes are applied")
    assert worker.is_running


def test_rows_survive_the_loss_of_the_broker_with_everything_in_it(deployment, broker):
    deployment.start_beat()
    deployment.schedule.put_rows({"1": (3600, 0)})
    wait_until(lambda: broker.llen("rowcache.refresh"), "the batch is in the queue")
    broker.flushdb()
    deployment.start_worker()
    wait_until(lambda: deployment.client.get("inv:1"), "the row is cached, after its lease")


def test_enqueuing_without_redis_is_an_error_and_not_a_hang(deployment):
    done = deployment.run(
        "from rowcache_tasks.tasks import schedule_row; schedule_row.delay('inv', '1', 10)",
        check=False,
        ROWCACHE_REDIS_URL="redis://127.0.0.1:1/0",
    )
    assert "ConnectionError" in done.stderr.splitlines()[-1]
