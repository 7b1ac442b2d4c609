"""Real beat and worker processes while a foreign client puts nonsense into their keys: none of them ends."""

import json
import re

import pytest
from support.waiting import wait_until

from rowcache_tasks.keys import Keys

pytestmark = pytest.mark.acceptance

TABLES = json.dumps({"inv": {"table": "inventory"}, "note": {"table": "note", "namespace": "note"}})
OURS = ("schedule:", "delay:", "refreshed:", "changed:", "failures:", "state:", "stats:", "wake:", "beat:", "queue:")
LONG = "9" * 1_000_000


@pytest.fixture(scope="module")
def users(users):
    """The roles, for both namespaces."""
    return re.sub(r"(%R?W?)~inv:\*", r"\g<0> \1~note:*", users)


def test_processes_outlive_nonsense_in_every_key_and_go_on_when_it_is_mended(deployment):
    deployment.env |= {"ROWCACHE_TABLES": TABLES, "ROWCACHE_LEASE": "2"}
    deployment.sql("CREATE TABLE note (id bigint PRIMARY KEY, stock int NOT NULL)")
    deployment.sql("INSERT INTO note SELECT n, 0 FROM generate_series(1, 10) n")
    beat, worker = deployment.start_beat(), deployment.start_worker()
    client = deployment.client
    rows = [str(n) for n in range(1, 6)]
    for keys in (Keys.of(""), Keys.of("note")):
        client.zadd(keys.delay, dict.fromkeys(rows, 3600))
        client.zadd(keys.schedule, dict.fromkeys(rows, 1))

    def stocks(prefix):
        return [value and json.loads(value)["stock"] for value in client.mget([f"{prefix}:{row}" for row in rows])]

    def change(stock):
        for table in ("inventory", "note"):
            deployment.sql(f"UPDATE {table} SET stock = %s WHERE id <= 5", stock)

    wait_until(lambda: stocks("inv") == stocks("note") == [0] * 5, "all rows are cached")

    for stock, key in enumerate(OURS, 1):
        before = client.dump(key)
        client.delete(key)
        client.set(key, "hostile")
        change(stock)
        client.zadd("schedule:note", dict.fromkeys(rows, 1))
        wait_until(lambda n=stock: stocks("note") == [n] * 5, f"the other table works beside {key}")
        assert None not in stocks("inv"), "the last values stay readable"
        client.delete(key)
        if before:
            client.restore(key, 0, before)
        client.zadd("schedule:", dict.fromkeys(rows, 1))
        wait_until(lambda n=stock: stocks("inv") == [n] * 5, f"the table works again with {key} mended")

    client.zadd("delay:", {"1": "1e-300", LONG: 60, "'; DROP TABLE inventory --": 60, b"\xff\x00": 60, "2": "inf"})
    client.zadd("schedule:", {"1": "-inf", LONG: 1, "'; DROP TABLE inventory --": 1, b"\xff\x00": 1, "2": -1e300})
    wait_until(lambda: client.hlen("failures:") == 3, "the row ids that are none are recorded")
    change(99)
    client.zadd("schedule:", dict.fromkeys(rows, 1))
    wait_until(lambda: stocks("inv") == [99] * 5, "the rows of the same batches are refreshed")

    assert beat.is_running
    assert worker.is_running
    assert not re.search(
        "process .* exited|WorkerLostError|CRITICAL", deployment.log("worker") + deployment.log("beat")
    )
