"""A cluster of Valkey with beat and a worker: a slot moves and a primary is killed while rows are refreshed."""

import json

import pytest
import redis
from support.cluster import Cluster
from support.waiting import wait_until

from rowcache_tasks.config.settings import Table
from rowcache_tasks.keys import slot_of
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.row_state import read_row_states

pytestmark = pytest.mark.acceptance

TABLE = Table("inv", "inventory", partitions=8)
ROWS = [str(number) for number in range(1, 81)]
SETTINGS = """
rowcache_tables = {"inv": {"table": "inventory", "partitions": 8}}
rowcache_lease = 5
"""


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, replicas=1) as nodes:
        yield nodes


@pytest.fixture
def servers(cluster):
    with connect(cluster.url, "test") as client:
        yield client


def are_fresh(client, parts, max_age_s=2.5):
    """Whether each row of some parts was refreshed lately, by the clock of its node."""
    try:
        rows = [row for part, some in parts for row in read_row_states(client, part, some)]
    except redis.RedisError:
        return False
    return all(row.age is not None and row.age < max_age_s for row in rows)


def test_rows_are_refreshed_while_a_slot_moves_and_after_a_primary_is_killed(deployment, cluster, servers):
    deployment.configure(SETTINGS)
    deployment.env["ROWCACHE_REDIS_URL"] = cluster.url
    deployment.sql("DELETE FROM inventory WHERE id > %s", len(ROWS))
    deployment.start_beat()
    deployment.start_worker()
    deployment.run("from rowcache_tasks.tasks import schedule_table; schedule_table.delay('inv', 1)")
    parts = TABLE.divide(ROWS)
    wait_until(lambda: are_fresh(servers, parts), "all rows are refreshed")

    moved, others = parts[:1], parts[1:]
    slot, source = slot_of(moved[0][0].tag), cluster.owner(moved[0][0].keys.schedule)
    target = (source + 1) % 3
    cluster.begin_move(slot, source, target)
    cluster.move_keys(slot, source, target, 5)
    wait_until(lambda: not are_fresh(servers, moved), "the part whose slot moves stands still")
    wait_until(lambda: are_fresh(servers, others), "all other rows are refreshed")
    while cluster.move_keys(slot, source, target):
        pass
    cluster.end_move(slot, target)
    wait_until(lambda: are_fresh(servers, parts), "all rows are refreshed after the move")

    lost = cluster.owner(TABLE.parts[3].keys.schedule)
    kept = [(part, some) for part, some in parts if cluster.owner(part.keys.schedule) != lost]
    cluster.servers[lost].kill()
    wait_until(lambda: not are_fresh(servers, parts), "rows of the killed node stand still")
    wait_until(lambda: are_fresh(servers, kept), "rows of the other nodes are refreshed")
    wait_until(lambda: are_fresh(servers, parts), "all rows are refreshed by the replica")
    sizes = [(servers.zcard(part.keys.schedule), servers.zcard(part.keys.delay)) for part in TABLE.parts]
    assert [len(some) for _, some in sorted(parts, key=lambda each: TABLE.parts.index(each[0]))] == [
        schedule for schedule, _ in sizes
    ]
    assert all(schedule == delay for schedule, delay in sizes)

    status = deployment.start("status", "rowcache", "status", "--json")
    assert status.wait(60) == 0, deployment.log("status")
    found = json.loads(deployment.log("status").splitlines()[-1])["tables"]["inv"]
    assert found["scheduled"] == len(ROWS)
    assert found["failing"] == 0
