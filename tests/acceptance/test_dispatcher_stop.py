"""A dispatcher that is told to stop: it does so by itself, and nothing that it claimed stays behind."""

import json
import os
import signal

import pytest
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance


def stop(beat):
    """Send SIGTERM; return the exit status, -9 when it had to be killed after all."""
    beat.stop(signal.SIGTERM, timeout=60)
    return beat.poll()


def test_idle_dispatcher_stops_on_sigterm(deployment):
    beat = deployment.start_beat()
    # A signal that comes while redis-py 6.4 reads from a socket is lost when its handler closes that socket.
    wait_until(lambda: any(one["cmd"] == "blpop" for one in deployment.client.client_list()), "it waits for rows")
    assert stop(beat) == 0


def test_dispatcher_stopped_while_it_dispatches_leaves_no_row_claimed_and_not_sent(deployment):
    broker = connect(deployment.valkey.url_for(1), "test")
    # A cap, so that a fast machine is not done before it is stopped.
    deployment.env["ROWCACHE_TABLES"] = json.dumps({"inv": {"table": "inventory", "max_rate": 2000}})
    for lap in range(3):
        # No worker starts these batches, and beside old ones nothing is claimed.
        broker.delete("rowcache.refresh")
        deployment.client.delete("queue:")
        beat = deployment.start_beat(
            f"beat{lap}", ROWCACHE_LEASE="3600", ROWCACHE_BATCH_SIZE="1", ROWCACHE_MAX_QUEUE="99999"
        )
        deployment.schedule.put_rows({str(n): (3600, 0) for n in range(1, 6001)})
        claimed = deployment.stat("claimed")
        wait_until(lambda claimed=claimed: deployment.stat("claimed") > claimed + 20, "it is in the middle of it")
        assert stop(beat) == 0
        assert deployment.stat("claimed") < claimed + 6000, "it was stopped in the middle"
        assert broker.llen("rowcache.refresh") == deployment.stat("claimed") - claimed


def test_dispatcher_whose_broker_hangs_hands_its_rows_back_when_it_is_stopped(deployment):
    with Valkey() as broker:
        beat = deployment.start_beat(CELERY_BROKER_URL=broker.broker_url(), ROWCACHE_LEASE="3600")
        deployment.schedule.put_rows({"2": (3600, 0)})
        with connect(broker.url, "test") as queue:
            wait_until(lambda: queue.llen("rowcache.refresh"), "the dispatcher has sent a batch: it asks no more first")
        wait_until(lambda: deployment.client.info("clients")["blocked_clients"], "it sleeps")
        os.kill(broker.pid, signal.SIGSTOP)
        deployment.schedule.put_rows({"1": (3600, 0)})
        wait_until(lambda: deployment.stat("claimed") == 2, "the row is claimed")
        status = stop(beat)
        os.kill(broker.pid, signal.SIGCONT)
        assert status == 0
        assert deployment.client.zscore("schedule:", "1") <= deployment.client.time()[0] + 1, "the row is due again"
