"""Schedule changes end in the state of the last one enqueued, in whatever order the workers run them."""

import ast
import re

import pytest
from support.waiting import wait_until

from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance

QUEUE = "rowcache.schedule"
WORKERS = [f"worker{n}" for n in range(1, 5)]

# Stamps as an application takes them, one after another; only the sending is shuffled. Prints what is to be left.
ENQUEUE = """
from contextlib import nullcontext
import random
from rowcache_tasks.celery import app
from rowcache_tasks.tasks import now_stamp, schedule_row, unschedule_row

choose = random.Random(20260101)
calls, expected = [], {{}}
for _ in range({count}):
    row_id, delay, stamp = str(choose.randrange(1, 101)), float(choose.randrange(1000, 2000)), now_stamp()
    assert not calls or stamp > calls[-1][2]
    if choose.random() < 0.5:
        calls.append((schedule_row, ("inv", row_id, delay), stamp))
        expected[row_id] = delay
    else:
        calls.append((unschedule_row, ("inv", row_id), stamp))
        expected.pop(row_id, None)
choose.shuffle(calls)
with app.producer_pool.acquire() as producer, getattr(producer, "batch", nullcontext)():  # kombu 5.7 has it
    for task, args, stamp in calls:
        task.apply_async(args, {{"stamp": stamp}}, producer=producer)
print(expected)
"""


@pytest.fixture
def broker(deployment):
    client = connect(deployment.valkey.url_for(1), "test")
    yield client
    client.close()


def scheduled(deployment):
    """Return row id -> delay of scheduled rows, the row ids with a due time, and those with a value."""
    client = deployment.client
    delays = {row_id.decode(): delay for row_id, delay in client.zrange("delay:", 0, -1, withscores=True)}
    due = {row_id.decode() for row_id in client.zrange("schedule:", 0, -1)}
    return delays, due, {key.decode().removeprefix("inv:") for key in client.keys("inv:*")}


def done(deployment):
    """Count the changes that each worker made."""
    return [len(re.findall(r"schedule_row\[\S+ succeeded in ", deployment.log(name))) for name in WORKERS]


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_shuffled_changes_of_100_rows_end_in_the_state_of_the_last_enqueued(deployment, broker, count):
    expected = ast.literal_eval(deployment.run(ENQUEUE.format(count=count), CELERY_TASK_SEND_SENT_EVENT="off"))
    assert broker.llen(QUEUE) == count
    assert 30 < len(expected) < 70
    broker.rename(QUEUE, "held back")
    deployment.start_beat()  # refreshes are in flight meanwhile, and must not bring back what is dropped
    for name in WORKERS:
        deployment.start_worker(name, "--pool=solo", "--without-heartbeat")
    for name in WORKERS:
        wait_until(lambda name=name: "ready." in deployment.log(name), f"{name} is ready")
    broker.rename("held back", QUEUE)
    wait_until(lambda: not broker.llen(QUEUE), "all changes are fetched", timeout_s=300, pause_s=0.05)
    wait_until(lambda: sum(done(deployment)) >= count, "all changes ran", pause_s=0.2)
    assert sum(count > 0 for count in done(deployment)) > 1, "several workers took part"
    wait_until(lambda: scheduled(deployment)[2] >= set(expected), "what is scheduled is cached")
    assert scheduled(deployment) == (expected, set(expected), set(expected))
