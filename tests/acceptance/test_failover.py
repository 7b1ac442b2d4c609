"""Failover of a pair behind one address whose old primary lives on as a replica, under real processes."""

import itertools
import json
import os
import signal
from functools import partial

import pytest
from support.deployment import Deployment
from support.failover_pair import FailoverPair
from support.sentinels import Sentinels
from support.versions import IS_CELERY_57
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks import CacheError, Refresher, RowCache

pytestmark = pytest.mark.acceptance

numbers = itertools.count()
ROWS = [str(n) for n in range(1, 201)]
FRESH_S = 60
"""5 s, and 2 s with Sentinels, on a machine that has time."""
APPLICATION = """
import asyncio
from rowcache_tasks import AsyncRowCache
from rowcache_tasks.tasks import refresh_now
refresh_now.delay("inv", ["1"])
print(asyncio.run(AsyncRowCache("inv").get("1")))
"""


@pytest.fixture
def pair():
    with FailoverPair() as pair:
        yield pair


@pytest.fixture
def deploy(postgres, tmp_path):
    """Function that makes a deployment on the primary of a pair."""
    deployments = []

    def deploy(pair, redis_url, broker_url):
        url = postgres.create_database(f"failover_{os.getpid()}_{next(numbers)}")
        deployments.append(deployment := Deployment(pair.primary, url, tmp_path))
        # A server that is killed may lose a message of the broker, whose rows then wait for their lease.
        deployment.env |= {"ROWCACHE_REDIS_URL": redis_url, "CELERY_BROKER_URL": broker_url, "ROWCACHE_LEASE": "4"}
        deployment.sql("CREATE TABLE inventory (id bigint PRIMARY KEY, name text, stock int NOT NULL)")
        deployment.sql("INSERT INTO inventory SELECT n, 'item', 0 FROM generate_series(1, 1000) n")
        return deployment

    yield deploy
    for deployment in deployments:
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
    """Lines of the logs above INFO, without those of Celery's own connections to the broker: one each."""
    celery = ("Cannot connect to", "beat pidbox connection error")
    return {
        name: [
            line
            for line in deployment.log(name).splitlines()
            if (": WARNING/" in line or ": ERROR/" in line) and not any(text in line for text in celery)
        ]
        for name in ("beat", "worker")
    }


def assert_log_is_short(deployment, outages):
    """Celery 5.6 itself logs more: a traceback for each lost connection, and a line for what it restores."""
    if IS_CELERY_57:
        assert all(len(lines) <= outages for lines in warnings(deployment).values()), warnings(deployment)
        assert not [name for name in ("beat", "worker") if "Traceback" in deployment.log(name)]


def fail_over(pair, deployment):
    """The address moves at once."""
    pair.fail_over()


def fail_over_late(pair, deployment):
    """The address leads to the old primary until all processes have noticed that it is a replica."""
    pair.switch = lambda server: None
    pair.fail_over()
    wait_until(lambda: "dispatch_failed" in deployment.log("beat"), "the dispatcher noticed")
    wait_until(lambda: "Cannot connect to" in deployment.log("worker"), "the worker noticed")
    del pair.switch
    pair.switch(pair.primary)


def fail_over_frozen(pair, deployment):
    """The old primary stands still, is killed, and comes back as a replica."""
    old = pair.primary
    reader = RowCache("inv", url=pair.url(), namespace="", timeout=2)
    reader.get("1")
    os.kill(old.pid, signal.SIGSTOP)
    with pytest.raises(CacheError):
        reader.get("1")
    pair.primary, pair.replica = pair.replica, old
    pair.promote(pair.primary)
    pair.switch(pair.primary)
    old.kill()
    old.start()
    pair.demote(old)


def test_rows_stay_fresh_when_the_old_primary_lives_on_as_a_replica(deploy, pair):
    deployment = deploy(pair, pair.url(), pair.url(1))
    start(deployment, pair)
    readers = [RowCache("inv", url=pair.url(), namespace="", near=near) for near in (0, 10)]
    refresher = Refresher(url=pair.url(), tables={"inv": {"table": "inventory"}})

    def is_fresh(stock):
        is_read = [reader.get("1")["stock"] for reader in readers] == [stock, stock]
        return is_read and stocks(pair, pair.primary) == {stock} and refresher.refresh_now("inv", ["1"]) == 1

    assert is_fresh(0)
    failovers = (fail_over, fail_over_late, fail_over_frozen)
    for stock, fail in enumerate(failovers, 1):
        fail(pair, deployment)
        deployment.sql("UPDATE inventory SET stock = %s", stock)
        wait_until(partial(is_fresh, stock), f"hot rows are fresh after {fail.__name__}, and readers see it", FRESH_S)
    assert_log_is_short(deployment, len(failovers))
    for reader in (*readers, refresher):
        reader.close()


def test_rows_stay_fresh_when_sentinels_promote_a_replica(deploy, tmp_path):
    with Sentinels(tmp_path) as sentinels:
        pair = sentinels.pair
        deployment = deploy(pair, sentinels.url(), "")  # the broker is that of the cache
        start(deployment, pair)
        readers = [RowCache("inv", url=sentinels.url(), namespace="", near=near) for near in (0, 10)]
        refresher = Refresher(url=sentinels.url(), tables={"inv": {"table": "inventory"}})
        assert [reader.get("1")["stock"] for reader in readers] == [0, 0]
        deployment.sql("UPDATE inventory SET stock = 1")
        sentinels.fail_over()

        def is_fresh():
            return stocks(pair, pair.primary) == {1} and [reader.get("1")["stock"] for reader in readers] == [1, 1]

        wait_until(is_fresh, "hot rows are fresh, and readers see it", FRESH_S)
        assert "'stock': 1" in deployment.run(APPLICATION)
        assert refresher.refresh_now("inv", ["1"]) == 1
        assert_log_is_short(deployment, 2)
        assert [child.poll() for child in deployment.children] == [None, None], "no process has ended"


CHANGES = """
from rowcache_tasks.tasks import schedule_row, unschedule_row
for number in range(%d, %d):
    schedule_row.delay("inv", number, 3600)
    unschedule_row.delay("inv", number + 1000)
"""


def test_change_that_a_replica_must_have_is_not_lost_when_it_is_behind_at_a_failover(deploy, pair):
    with Valkey() as broker:
        deployment = deploy(pair, pair.url(), broker.broker_url())
        deployment.env["ROWCACHE_REPLICAS"] = "1"
        deployment.schedule.put_rows({str(number + 1000): (3600, 3600) for number in range(1, 91)})
        deployment.client.delete("changed:")
        deployment.run(CHANGES % (1, 31))
        deployment.start_worker()
        changed = partial(deployment.client.zcard, "changed:")
        wait_until(lambda: changed() == 60, "changes are made")
        pair.command(pair.replica, "REPLICAOF", "127.0.0.1", 1)  # cut off
        deployment.run(CHANGES % (31, 91))
        wait_until(lambda: changed() > 60, "changes are made that it does not have")
        pair.primary.kill()
        pair.primary, pair.replica = pair.replica, pair.primary
        pair.promote(pair.primary)
        pair.switch(pair.primary)
        pair.replica.start()
        pair.demote(pair.replica)

        def is_done():
            return sorted(map(int, pair.command(pair.primary, "ZRANGE", "delay:", 0, -1))) == [*range(1, 91)]

        wait_until(is_done, "the new primary has all changes")
