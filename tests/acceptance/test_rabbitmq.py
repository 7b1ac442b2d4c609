"""Quorum queues on three nodes of RabbitMQ, of which one is killed; a schedule change that cannot be made for long."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.fork_server import run_forked
from support.project import CELERY
from support.rabbitmq import RabbitMQ, missing_programs
from support.waiting import wait_until

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.long,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}"),
]

CONFIGURATION = """
import os
rowcache_redis_url = os.environ["ROWCACHE_REDIS_URL"]
rowcache_database_url = os.environ["ROWCACHE_DATABASE_URL"]
rowcache_tables = {"inv": {"table": "inventory"}}
rowcache_lease = 5
broker_url = os.environ["CELERY_BROKER_URL"]
task_default_queue_type = "quorum"
broker_transport_options = {"manager_port": int(os.environ.get("MANAGER_PORT", 15672))}
"""
SEND = """
from kombu.exceptions import OperationalError
from rowcache_tasks.tasks import schedule_row
for number in range(1000):
    while True:
        try:
            schedule_row.delay("inv", f"{number % 100 + 201}", 1000 + number)
            break
        except OperationalError:  # the broker has not confirmed it
            continue
"""


@pytest.fixture(scope="module")
def cluster():
    with RabbitMQ(3) as cluster:
        yield cluster


@pytest.fixture
def on_rabbitmq(deployment, cluster):
    deployment.configure(CONFIGURATION)
    deployment.passwords = {}
    deployment.env["CELERY_BROKER_URL"] = cluster.url()
    return deployment


def test_doctor_names_a_delivery_limit(on_rabbitmq, cluster):
    on_rabbitmq.env["CELERY_BROKER_URL"] = cluster.url(1)  # the queues are led by this node
    on_rabbitmq.env["MANAGER_PORT"] = str(cluster.manager_port)

    def limits():
        done = run_forked([*CELERY, "rowcache", "doctor"], env=on_rabbitmq.env, cwd=on_rabbitmq.cwd)
        return [line for line in done.stdout.splitlines() if "delivery-limit" in line]

    on_rabbitmq.start_worker()
    wait_until(lambda: "ready." in on_rabbitmq.log("worker"), "the queues are declared")
    (unknown,) = wait_until(limits, "the broker answers in time")
    assert unknown.startswith("warn  broker: delivery-limit of rowcache.schedule is not known: the management API of ")
    cluster.enable(0, "rabbitmq_management")
    (silent,) = wait_until(limits, "the broker answers in time")
    reason = "no statistics of rabbit1@localhost: rabbitmq-plugins enable rabbitmq_management_agent there"
    assert f"is not known: the management API of RabbitMQ has {reason}" in silent
    cluster.enable(1, "rabbitmq_management_agent")
    good = ["ok    broker: rowcache.schedule is a quorum queue without delivery-limit"]
    wait_until(lambda: limits() == good, "the API has the statistics")
    cluster.control(0, "set_policy", "limit", "^rowcache", '{"delivery-limit": 3}', "--apply-to", "queues")
    (few,) = wait_until(lambda: [line for line in limits() if line.startswith("warn")], "the policy is applied")
    assert few.startswith("warn  broker: delivery-limit of rowcache.schedule is 3: a schedule change whose worker is ")
    assert few.endswith(": set it to -1 by a policy (rabbitmqctl set_policy), before RabbitMQ 4 remove it")
    cluster.control(0, "clear_policy", "limit")


def test_no_change_is_lost_and_rows_are_fresh_when_a_node_is_killed_under_load(on_rabbitmq, cluster):
    rows = [str(number) for number in range(1, 201)]
    on_rabbitmq.schedule.put_rows(dict.fromkeys(rows, (0.5, 0)))
    on_rabbitmq.start_beat()
    on_rabbitmq.start_worker()

    def oldest_s():
        """Age of the oldest value by the clock of Redis; seconds."""
        found = on_rabbitmq.client.zrange("refreshed:", 0, 0, withscores=True)
        return on_rabbitmq.client.time()[0] - found[0][1]

    wait_until(lambda: on_rabbitmq.client.zcard("refreshed:") >= 200 and oldest_s() < 2, "all rows are fresh")
    listed = cluster.control(1, "list_queues", "name", "type", "leader", "--formatter", "json")
    kinds = {queue["name"]: queue["type"] for queue in json.loads(listed)}
    assert kinds["rowcache.refresh"] == kinds["rowcache.schedule"] == "quorum"
    leaders = {queue["name"]: queue["leader"] for queue in json.loads(listed)}
    victim = int(leaders["rowcache.schedule"][len("rabbit")])

    with ThreadPoolExecutor() as threads:
        sent = threads.submit(on_rabbitmq.run, SEND)
        wait_until(lambda: on_rabbitmq.client.zscore("delay:", "300"), "changes are applied")
        cluster.kill(victim)
        sent.result()
    expected = {str(number % 100 + 201): 1000 + number for number in range(900, 1000)}

    def applied():
        delays = on_rabbitmq.client.zmscore("delay:", list(expected))
        return delays == list(expected.values())

    wait_until(applied, "each row has the delay of its last change")
    wait_until(lambda: on_rabbitmq.client.zscore("refreshed:", "1") > on_rabbitmq.client.time()[0] - 2, "fresh again")
    on_rabbitmq.client.zrem("refreshed:", *expected)
    wait_until(lambda: oldest_s() < 2, "all rows are fresh again")
    cluster.start(victim)


def test_change_survives_more_deliveries_than_the_queue_allows(on_rabbitmq, cluster):
    limit = '{"delivery-limit": 2}'
    cluster.control(1, "set_policy", "limit", "^rowcache", limit, "--apply-to", "queues")
    on_rabbitmq.start_worker()
    on_rabbitmq.client.config_set("maxmemory", 1)
    on_rabbitmq.run("from rowcache_tasks.tasks import schedule_row; schedule_row.delay('inv', '1', 10)")
    wait_until(lambda: refusals(on_rabbitmq) > 5, "the worker tried")
    on_rabbitmq.client.config_set("maxmemory", 0)
    wait_until(lambda: on_rabbitmq.client.zscore("delay:", "1") == 10, "the change is applied")


def refusals(deployment):
    """Count the commands that Redis refused since it has no memory left."""
    return deployment.client.info("errorstats").get("errorstat_OOM", {"count": 0})["count"]
