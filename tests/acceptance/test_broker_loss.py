"""What a worker does when its broker goes away at a bad moment."""

import psycopg
import pytest
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance


def test_worker_with_fetched_messages_survives_the_loss_of_its_broker(deployment):
    with Valkey() as broker:
        env = {"CELERY_BROKER_URL": broker.broker_url(), "ROWCACHE_BATCH_SIZE": "1"}
        worker = deployment.start_worker(**env)
        deployment.start_beat(**env)
        client = connect(broker.url, "test")
        with psycopg.connect(deployment.database_url.replace("+psycopg", "")) as database:
            database.execute("LOCK TABLE inventory IN ACCESS EXCLUSIVE MODE")
            # Two are being read; the third was fetched and waits for a process, and the worker asks for one more.
            deployment.schedule.put_rows({"1": (3600, 0), "2": (3600, 0), "3": (3600, 0)})
            wait_until(lambda: readers(deployment) == 2 and not client.llen("rowcache.refresh"), "messages are fetched")
            broker.kill()
            wait_until(lambda: "Connection to broker lost" in deployment.log("worker"), "the worker noticed")
        broker.start()
        wait_until(lambda: deployment.client.zcount("refreshed:", "-inf", "inf") == 3, "the rows are cached")
        assert worker.is_running
        assert "Unrecoverable error" not in deployment.log("worker")
        client.close()


def readers(deployment):
    """How many queries wait for the lock."""
    ((count,),) = deployment.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return count
