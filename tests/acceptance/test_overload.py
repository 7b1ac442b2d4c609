"""More rows due than the workers can do: rows get late, work does not pile up."""

import json

import pytest
from support.observer import Observer
from support.overload import DISPATCHERS, MAX_QUEUE, NORMAL_DELAY_S, ROWS, Overload, watch
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

MIB = 2**20
LEASE_S, DELAY_S, ROW_S = 2, 3, 0.004
"""The queue takes two leases; a lease is long enough that no process on a busy machine hangs for one as it sends."""


@pytest.fixture
def overload(deployment):
    overload = Overload(deployment, LEASE_S, ROW_S, DELAY_S)
    overload.start()
    yield overload
    overload.close()


def let_rows_be_committed(deployment, count):
    done = deployment.stat("unchanged")
    wait_until(lambda: deployment.stat("unchanged") >= done + count, f"{count} rows are committed")


def late_s(deployment, observer):
    """Return how late the latest row is, in seconds, while the next 300 are committed."""
    observer.reset()
    let_rows_be_committed(deployment, 300)
    return observer.reset()[1]


def test_overload_makes_rows_late_and_piles_up_nothing(deployment, overload):
    rows = [str(n) for n in range(1, ROWS + 1)]
    with Observer(deployment, dict.fromkeys(rows, DELAY_S)) as observer:
        samples = watch(overload, seconds=4 * LEASE_S)
        wait_until(lambda: observer.commits.total() > 2 * ROWS, "each row had its turn", timeout_s=120)
        samples += watch(overload, seconds=0.5)
        counts = [observer.commits[row_id.encode()] for row_id in rows]
        assert min(counts) >= 1, "no row starves"
        assert max(counts) <= 3 * sum(counts) / ROWS
        assert observer.reset()[1] > 1, "this is an overload"
    # Two dispatchers may both see room for one batch more.
    assert MAX_QUEUE / 3 < max(sample.queued for sample in samples) <= MAX_QUEUE + len(DISPATCHERS)
    assert set().union(*(sample.doubles for sample in samples)) == set(), "rows in two batches of the queue"
    for number in range(len(DISPATCHERS)):
        memory = [sample.dispatcher_bytes[number] for sample in samples]
        assert memory[-1] - memory[0] < 8 * MIB
    memory = [sample.broker_bytes for sample in samples]
    assert max(memory) - memory[0] < 2 * MIB
    assert deployment.stat("failed") == 0

    overload.schedule(NORMAL_DELAY_S)
    with Observer(deployment, dict.fromkeys(rows, NORMAL_DELAY_S)) as observer:
        wait_until(lambda: overload.sample().queued == 0, "the queue is empty")
        let_rows_be_committed(deployment, ROWS)
        wait_until(lambda: late_s(deployment, observer) < 0.5, "lateness is back to normal")


def test_ids_that_do_not_exist_take_no_more_than_their_share(deployment):
    # A cap, so that a fast machine takes some seconds for them.
    deployment.env["ROWCACHE_TABLES"] = json.dumps({"inv": {"table": "inventory", "max_rate": 5000}})
    deployment.start_worker()
    deployment.start_beat(ROWCACHE_MAX_QUEUE="5", ROWCACHE_BATCH_SIZE="100")
    rows = [str(n) for n in range(1, 101)]
    deployment.schedule.put_rows(dict.fromkeys(rows, (0.2, 0)))
    let_rows_be_committed(deployment, 200)
    unknown = range(100_000, 120_000)
    with Observer(deployment, dict.fromkeys(rows, 0.2), pause_s=0.05) as observer:
        deployment.client.zadd("delay:", dict.fromkeys(unknown, 1000))
        deployment.client.zadd("schedule:", dict.fromkeys(unknown, 1))
        observer.commits.clear()
        wait_until(lambda: deployment.stat("missing") >= 15_000, "most ids were looked up", timeout_s=120)
        commits = dict(observer.commits)
    assert min(commits.get(row_id.encode(), 0) for row_id in rows) >= 3, "the rows are refreshed meanwhile"
