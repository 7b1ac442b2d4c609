"""Failover of a pair behind one address whose old primary lives on as a replica, under real processes."""

import json
import os
import signal
import time

import pytest
from support.deployment import Deployment
from support.failover_pair import FailoverPair
from support.waiting import wait_until

from rowcache_tasks import Refresher, RowCache

pytestmark = pytest.mark.acceptance

ROWS = [str(n) for n in range(1, 201)]
FRESH_S = 6


@pytest.fixture
def pair():
    with FailoverPair() as pair:
        yield pair


@pytest.fixture
def deployment(pair, postgres, tmp_path, request):
    """Deployment whose cache and broker are the pair."""
    url = postgres.create_database(f"failover_{os.getpid()}_{abs(hash(request.node.name))}")
    deployment = Deployment(pair.primary, url, tmp_path)
    deployment.env |= {"ROWCACHE_REDIS_URL": pair.url(), "CELERY_BROKER_URL": pair.url(1)}
    deployment.sql("CREATE TABLE inventory (id bigint PRIMARY KEY, name text, stock int NOT NULL)")
    deployment.sql("INSERT INTO inventory SELECT n, 'item', 0 FROM generate_series(1, 1000) n")
    yield deployment
    deployment.stop()


def start(deployment, pair):
    """Start a dispatcher and a worker on hot rows; return when all of them are cached at both servers."""
    deployment.start_beat()
    deployment.start_worker()
    deployment.schedule.put_rows(dict.fromkeys(ROWS, (1, 0)))
    wait_until(lambda: stocks(pair, pair.replica) == {0}, "the rows are cached, and copied")


def stocks(pair, server):
    values = pair.command(server, "MGET", *(f"inv:{row_id}" for row_id in ROWS))
    return {value and json.loads(value)["stock"] for value in values}


def warnings(deployment):
    """Lines of the logs above INFO, without those of Celery's own connections to the broker."""
    celery = (
        "Cannot connect to redis",
        "Error on restarting",
        "beat pidbox connection error",
        "CPendingDeprecationWarning",
    )
    return {
        name: [
            line
            for line in deployment.log(name).splitlines()
            if (": WARNING/" in line or ": ERROR/" in line) and not any(text in line for text in celery)
        ]
        for name in ("beat", "worker")
    }


def fail_over_late(pair):
    """The address leads to the old primary for a while after it became a replica."""
    address = pair.switch
    pair.switch = lambda server: None
    pair.fail_over()
    time.sleep(2)
    address(pair.primary)


def fail_over_frozen(pair):
    """The old primary stands still, is killed, and comes back as a replica."""
    old = pair.primary
    os.kill(old.pid, signal.SIGSTOP)
    time.sleep(2)
    pair.primary, pair.replica = pair.replica, old
    pair.promote(pair.primary)
    pair.switch(pair.primary)
    old.kill()
    old.start()
    pair.demote(old)


@pytest.mark.parametrize("fail_over", [FailoverPair.fail_over, fail_over_late, fail_over_frozen])
def test_rows_stay_fresh_when_the_old_primary_lives_on_as_a_replica(deployment, pair, fail_over):
    start(deployment, pair)
    readers = [RowCache("inv", url=pair.url(), namespace="", near=near) for near in (0, 10)]
    refresher = Refresher(url=pair.url(), tables={"inv": {"table": "inventory"}})
    assert [reader.get("1")["stock"] for reader in readers] == [0, 0]
    assert refresher.refresh_now("inv", ["1"]) == 1
    fail_over(pair)
    deployment.sql("UPDATE inventory SET stock = 1")
    wait_until(lambda: stocks(pair, pair.primary) == {1}, "hot rows are fresh", FRESH_S)
    wait_until(lambda: [r.get("1")["stock"] for r in readers] == [1, 1], "readers see it", FRESH_S)
    assert refresher.refresh_now("inv", ["1"]) == 1
    assert all(len(lines) <= 1 for lines in warnings(deployment).values()), warnings(deployment)
    for reader in (*readers, refresher):
        reader.close()
