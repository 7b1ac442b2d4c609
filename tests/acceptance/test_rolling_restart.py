"""SIGTERM of a worker: what it has started ends, what it has only fetched goes back at once."""

import os
import signal

import psutil
import psycopg
import pytest
from support.observer import Observer
from support.queued_batches import QUEUE, read_batches
from support.waiting import wait_until

from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance

LEASE_S = 600
"""A row whose batch is lost waits for so long."""

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def start_worker(deployment, name):
    worker = deployment.start_worker(name)
    wait_until(lambda: "ready." in deployment.log(name), f"{name} is ready", pause_s=0.02)
    return worker


def replace_oldest(deployment, workers, number):
    workers.append((f"worker{number}", start_worker(deployment, f"worker{number}")))
    name, oldest = workers.pop(0)
    oldest.stop(signal.SIGTERM, timeout=60)
    assert oldest.poll() == 0, f"{name} ended with {oldest.poll()}:\n{oldest.log_tail()}"


@pytest.fixture
def broker(deployment):
    client = connect(deployment.valkey.url_for(1), "test")
    yield client
    client.close()


def test_no_row_is_lost_or_late_when_all_workers_are_restarted_under_load(deployment):
    rows = {str(n): 1.0 for n in range(1, 1001)}
    deployment.env["ROWCACHE_LEASE"] = str(LEASE_S)
    deployment.start_beat()
    workers = [(name, start_worker(deployment, name)) for name in ("worker1", "worker2")]
    deployment.schedule.put_rows({row_id: (1.0, int(row_id) / 1000) for row_id in rows})
    with Observer(deployment, rows) as observer:
        wait_until(lambda: not observer.missing(), "all rows are cached")
        observer.reset()
        for number in (3, 4):
            replace_oldest(deployment, workers, number)
        now = deployment.client.time()[0]
        client = deployment.client
        wait_until(lambda: not client.zcount("refreshed:", "-inf", now), "each row was refreshed since")
        assert observer.missing() == []
        row_id, late_s = observer.reset()
    assert late_s < LEASE_S / 5, f"row {row_id} was late by {late_s} s; a quiet machine shows 0.1 s"
    # A batch in the pipe to a process may run twice: its second commit is superseded.
    assert deployment.stat("failed") == deployment.stat("missing") == 0


def test_stopping_worker_gives_back_at_once_what_it_has_not_started(deployment, broker):
    deployment.env["ROWCACHE_LEASE"] = "60"
    deployment.start_beat()
    worker = deployment.start_worker("worker", "--concurrency=1")
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
    with psycopg.connect(deployment.database_url.replace("+psycopg", "")) as connection:
        connection.execute("LOCK TABLE inventory IN ACCESS EXCLUSIVE MODE")
        for count, row_id in enumerate(("1", "2", "3"), start=1):
            deployment.schedule.put_rows({row_id: (3600, 0)})
            wait_until(lambda count=count: deployment.stat("claimed") == count, "the row is sent")
        wait_until(
            lambda: deployment.sql(WAITING) == [(1,)] and broker.llen(QUEUE) == 1,
            "one runs, one is fetched, one waits",
        )
        os.kill(worker.pid, signal.SIGTERM)
        deployment.schedule.put_rows({"4": (3600, 0)})
        wait_until(lambda: broker.llen(QUEUE) == 3, "all but the running one are back")
        assert worker.is_running
        assert read_batches(broker) == [["2"], ["3"], ["4"]], "in their order"
    wait_until(lambda: deployment.client.get("inv:1"), "the running batch is committed")
    assert worker.wait(90) == 0
    deployment.start_worker("second")
    wait_until(lambda: deployment.client.mget("inv:2", "inv:3", "inv:4").count(None) == 0, "the others took over")
    assert deployment.stat("claimed") == 4


def test_stopping_worker_gives_back_nothing_that_it_has_done(deployment, broker):
    deployment.start_beat()
    worker = deployment.start_worker("worker")
    deployment.schedule.put_rows({"1": (3600, 0)})
    wait_until(lambda: deployment.client.get("inv:1"), "the row is refreshed")
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(90) == 0
    assert broker.llen(QUEUE) == 0


def test_message_that_arrives_while_the_worker_stops_is_not_held_up(deployment, broker):
    deployment.env["ROWCACHE_LEASE"] = "60"
    deployment.start_beat()
    worker = deployment.start_worker("worker", "--concurrency=1")
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
    with psycopg.connect(deployment.database_url.replace("+psycopg", "")) as connection:
        connection.execute("LOCK TABLE inventory IN ACCESS EXCLUSIVE MODE")
        deployment.schedule.put_rows({"1": (3600, 0)})
        wait_until(lambda: deployment.sql(WAITING) == [(1,)], "a batch is running")
        os.kill(worker.pid, signal.SIGTERM)
        deployment.schedule.put_rows({"2": (3600, 0)})
        wait_until(lambda: deployment.stat("claimed") == 2, "the next is sent")
        wait_until(lambda: broker.llen(QUEUE) == 1, "it is back in the queue")
        assert worker.is_running
    assert worker.wait(90) == 0


def test_batch_that_a_pool_process_has_not_begun_yet_is_written_once(deployment, broker):
    deployment.env["ROWCACHE_LEASE"] = "10"
    deployment.start_beat()
    worker = deployment.start_worker("worker", "--concurrency=2")
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
    processes = psutil.Process(worker.pid).children()
    for process in processes:
        process.suspend()
    for count, row_id in enumerate(("1", "2"), start=1):
        deployment.schedule.put_rows({row_id: (3600, 0)})
        wait_until(lambda count=count: deployment.log("worker").count(" received") == count, "the worker has it")
    # The first lies in the pipe to a process before the second is looked at; that one may have come too late.
    os.kill(worker.pid, signal.SIGTERM)
    wait_until(lambda: "gave back" in deployment.log("worker"), "the worker stops")
    for process in processes:
        process.resume()
    assert worker.wait(90) == 0
    second = deployment.start_worker("second")
    wait_until(lambda: not broker.llen(QUEUE) and None not in deployment.client.mget("inv:1", "inv:2"), "all is done")
    second.stop(signal.SIGTERM, timeout=90)
    assert deployment.stat("refreshed") == 2, "a batch that was run twice was superseded the second time"
    assert broker.hlen("unacked") == 0, "batches are not written down there: the lease of their rows is enough"
