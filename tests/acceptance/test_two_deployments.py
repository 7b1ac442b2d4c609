"""Two deployments of different names share a Redis database and a broker."""

import json

import pytest
from support.fork_server import run_forked
from support.project import CELERY
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

ROWS = [str(number) for number in range(1, 101)]


def named(name, tables):
    """The environment of a deployment."""
    return {"ROWCACHE_DEPLOYMENT": name, "ROWCACHE_TABLES": json.dumps(tables)}


def test_each_refreshes_its_own_rows_and_one_without_workers_does_not_stop_the_other(deployment):
    deployment.sql("CREATE TABLE users AS SELECT id, name FROM inventory")
    deployment.sql("ALTER TABLE users ADD PRIMARY KEY (id)")
    deployment.passwords = {}  # the roles of the tests have no rights to the namespace of users
    client = deployment.client
    shop = named("shop", {"inv": {"table": "inventory"}})
    crm = named("crm", {"users": {"table": "users", "namespace": "users"}})
    deployment.start_beat("shop_beat", **shop)
    deployment.start_worker("crm", "-B", **crm)
    for namespace in ("", "users"):
        client.zadd(f"delay:{namespace}", dict.fromkeys(ROWS, 0.5))
        client.zadd(f"schedule:{namespace}", dict.fromkeys(ROWS, client.time()[0]))
    waiting = wait_until(lambda: client.zrange("queue:shop", 0, 0), "a batch of the shop waits for a worker")
    client.zincrby("queue:shop", -10, waiting[0])  # so old that it stops a dispatcher

    def refreshed():
        return int(client.hget("stats:users", "unchanged") or 0)

    wait_until(lambda: refreshed() >= 3 * len(ROWS), "the other deployment goes on")
    assert client.zrange("queue:shop", 0, -1) == waiting
    assert client.exists("inv:1") == 0

    deployment.start_worker("shop", **shop)
    wait_until(lambda: client.exists(*(f"inv:{row_id}" for row_id in ROWS)) == len(ROWS), "its own worker refreshes")
    assert not client.exists("queue:", "processes:", "beat:", "failures:", "failures:users")
    assert "unknown_table" not in deployment.log("crm") + deployment.log("shop")

    def queues_of_worker():
        notes = map(json.loads, client.zrange("processes:shop", 0, -1))
        return [note["queues"] for note in notes if note["kind"] == "worker"]

    wait_until(lambda: queues_of_worker() == [["rowcache.shop.refresh", "rowcache.shop.schedule"]], "the worker's note")

    schedule = "from rowcache_tasks.tasks import schedule_row; schedule_row.delay('users', 200, 5)"
    deployment.run(schedule, **crm)
    wait_until(lambda: client.exists("users:200"), "a schedule change finds the worker of its deployment")

    def is_old(connection):
        return connection["name"].startswith("rowcache-worker.crm:") and int(connection["age"]) > 5

    wait_until(lambda: any(map(is_old, client.client_list())), "a process of the other has no note here")
    done = run_forked([*CELERY, "rowcache", "health"], env=deployment.env | shop)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("; 1 dispatcher; 1 worker\n")
