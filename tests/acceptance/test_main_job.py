"""The main job, done by real beat and worker processes on real servers, with the settings of README.md."""

import json
import os
import signal
import time
from contextlib import contextmanager

import psutil
import psycopg
import pytest
from support.documented import configuration
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks import RowCache
from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance

SHORT_LEASE = {"ROWCACHE_LEASE": "5"}
"""Where a test waits for the end of a lease; the default is 30 s."""
OUTCOMES = ("refreshed", "unchanged", "superseded", "dropped", "missing", "failed")


@pytest.fixture
def deployment(deployment):
    deployment.configure(configuration())
    deployment.worker_options = ()
    return deployment


@pytest.fixture
def inv(deployment):
    cache = RowCache("inv", url=deployment.valkey.url)
    yield cache
    cache.close()


def get(deployment, row_id):
    value = deployment.client.get(f"inv:{row_id}")
    return None if value is None else json.loads(value)


def pool_children(worker):
    """The pool processes of a worker that are ready."""
    return psutil.Process(worker.pid).children()


def test_scenario_of_the_book_played_with_nothing_but_zadd_and_get(deployment):
    deployment.start_beat()
    deployment.start_worker()
    client = deployment.client
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
    wait_until(lambda: "dispatching" in deployment.log("beat"), "the dispatcher is ready")

    client.zadd("delay:", {"17": 5})
    client.zadd("schedule:", {"17": time.time()})
    wait_until(lambda: get(deployment, 17), "the row is cached")
    assert get(deployment, 17) == {"id": 17, "name": "item 17", "stock": 0}

    deployment.sql("UPDATE inventory SET stock = 9 WHERE id = 17")
    wait_until(lambda: get(deployment, 17)["stock"] == 9, "the change is cached")

    client.zadd("delay:", {"17": -1})
    client.zadd("schedule:", {"17": time.time()})
    wait_until(lambda: get(deployment, 17) is None, "the row is gone")
    assert client.zscore("schedule:", "17") is None


def test_application_schedules_reads_refreshes_and_unschedules_through_tasks(deployment, inv):
    deployment.start_beat()
    deployment.start_worker()
    deployment.run(
        "from rowcache_tasks.tasks import *\n"
        "schedule_row.delay('inv', '1', 3600)\n"
        "schedule_rows.delay('inv', {'2': 3600, '3': 3600})\n"
    )
    wait_until(lambda: None not in inv.get_many(["1", "2", "3"]).values(), "the rows are cached")
    assert inv.age("1") < 30
    deployment.sql("UPDATE inventory SET stock = 5 WHERE id = 1")
    deployment.run("from rowcache_tasks.tasks import *; refresh_now.delay('inv', ['1'])")
    wait_until(lambda: inv.get("1")["stock"] == 5, "the change is cached")
    deployment.run(
        "from rowcache_tasks.tasks import *\nunschedule_row.delay('inv', '1'); unschedule_rows.delay('inv', ['2'])"
    )
    wait_until(lambda: inv.get_many(["1", "2"]) == {"1": None, "2": None}, "the rows are gone")
    assert inv.get("3") is not None


def test_refresh_row_called_by_hand_claims_its_rows_itself(deployment, inv):
    deployment.start_worker()
    deployment.schedule.put_rows({"1": (3600, 1000)})
    deployment.run("from rowcache_tasks.tasks import refresh_row; refresh_row.delay('inv', ['1', '2'])")
    wait_until(lambda: inv.get("1"), "the row is cached")
    assert inv.get("2") is None


def test_two_dispatchers_and_two_workers_do_each_claim_once(deployment):
    beats = [deployment.start_beat(f"beat{n}", ROWCACHE_LEASE="600") for n in (1, 2)]
    for n in (1, 2):
        deployment.start_worker(f"worker{n}")
    rows = {str(n): (3600, 0) for n in range(1, 1001)}
    deployment.schedule.put_rows(rows)
    wait_until(lambda: deployment.stat("refreshed") == 1000, "all rows are cached")
    for lap in range(2, 6):
        deployment.schedule.touch_rows(rows)
        done = 1000 * lap
        wait_until(lambda done=done: sum(map(deployment.stat, OUTCOMES)) >= done, "the lap is done")
    assert deployment.stat("claimed") == 5000
    assert deployment.stat("refreshed") + deployment.stat("unchanged") == 5000
    assert deployment.stat("superseded") == deployment.stat("failed") == deployment.stat("missing") == 0
    assert all(beat.is_running for beat in beats)


def test_rows_of_a_killed_worker_are_refreshed_when_their_lease_ends(deployment, inv):
    deployment.start_beat(**SHORT_LEASE)
    worker = deployment.start_worker()
    deployment.schedule.put_rows({str(n): (3600, 0) for n in range(1, 11)})
    wait_until(lambda: inv.get("10"), "the rows are cached")
    with locked_table(deployment):
        deployment.schedule.touch_rows([str(n) for n in range(1, 11)])
        wait_until(lambda: waiting_selects(deployment), "a batch is being read")
        worker.kill()
    assert inv.get("10"), "the last value stays readable"
    assert deployment.client.zcard("schedule:") == 10
    before = deployment.stat("unchanged")
    deployment.start_worker("second")
    wait_until(lambda: deployment.stat("unchanged") >= before + 10, "the rows are refreshed again")


def test_value_whose_worker_was_stopped_after_its_select_is_read_again(deployment, inv):
    deployment.start_beat()
    worker = deployment.start_worker()
    deployment.schedule.put_rows({"1": (3600, 0)})
    wait_until(lambda: inv.get("1"), "the row is cached")
    children = pool_children(worker)
    with locked_table(deployment):
        deployment.schedule.touch_rows(["1"])
        wait_until(lambda: waiting_selects(deployment), "a batch is being read")
        for child in children:
            os.kill(child.pid, signal.SIGSTOP)
    wait_until(lambda: not waiting_selects(deployment), "the SELECT is done")
    deployment.sql("UPDATE inventory SET stock = 7 WHERE id = 1")
    stopped_at = deployment.client.time()[0]
    wait_until(lambda: deployment.client.time()[0] > stopped_at + 1, "the read began over a second ago")
    for child in children:
        os.kill(child.pid, signal.SIGCONT)
    wait_until(lambda: inv.get("1")["stock"] == 7, "the row is read again")


def test_worker_that_lost_a_pool_process_in_a_batch_goes_on(deployment, inv):
    deployment.start_beat(**SHORT_LEASE)
    worker = deployment.start_worker()
    deployment.schedule.put_rows({"1": (3600, 0)})
    wait_until(lambda: inv.get("1"), "the row is cached")
    with locked_table(deployment):
        deployment.schedule.touch_rows(["1"])
        wait_until(lambda: waiting_selects(deployment), "a batch is being read")
        children = pool_children(worker)
        assert len(children) == 2
        for child in children:
            os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: deployment.stat("unchanged") >= 1, "the row is refreshed again")
    assert worker.is_running


def test_prefork_children_have_database_connections_of_their_own(deployment):
    deployment.start_beat()
    worker = deployment.start_worker()
    deployment.schedule.put_rows({str(n): (0.05, 0) for n in range(1, 1001)})
    wait_until(lambda: deployment.stat("refreshed") + deployment.stat("unchanged") >= 5000, "five rounds are done")
    sessions = deployment.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert sessions == [(2,)], "one for each pool process, none of the parent's"
    assert deployment.stat("failed") == 0
    assert worker.is_running
    assert "Traceback" not in deployment.log("worker")


def test_dispatcher_and_worker_survive_a_restart_of_redis(deployment, inv):
    beat = deployment.start_beat(**SHORT_LEASE)
    worker = deployment.start_worker()
    deployment.schedule.put_rows({"1": (1, 0)})
    wait_until(lambda: inv.get("1"), "the row is cached")
    deployment.valkey.kill()
    wait_until(lambda: "dispatch_failed" in deployment.log("beat"), "the dispatcher noticed")
    deployment.valkey.start()
    deployment.sql("UPDATE inventory SET stock = 5 WHERE id = 1")
    wait_until(lambda: inv.get("1")["stock"] == 5, "the row is refreshed again")
    assert beat.is_running
    assert worker.is_running


def test_batch_is_released_at_once_when_the_broker_is_away(deployment, inv):
    deployment.schedule.put_rows({"1": (3600, 0)})
    with Valkey(persistent=True) as broker:
        env = {"CELERY_BROKER_URL": broker.broker_url(), "ROWCACHE_LEASE": "3600"}
        beat = deployment.start_beat(**env)
        wait_until(lambda: deployment.stat("claimed"), "the row is claimed")
        broker.kill()
        deployment.schedule.touch_rows(["1"])
        wait_until(lambda: "dispatch_failed" in deployment.log("beat"), "sending failed")
        wait_until(
            lambda: deployment.client.zscore("schedule:", "1") <= deployment.client.time()[0] + 1,
            "the row is due again",
        )
        broker.start()
        deployment.start_worker(**env)
        wait_until(lambda: inv.get("1"), "the row is cached")
        assert beat.is_running


def test_embedded_dispatcher_of_a_worker_does_the_job(deployment, inv):
    deployment.start_worker("both", "-B")
    deployment.schedule.put_rows({"1": (3600, 0)})
    wait_until(lambda: inv.get("1"), "the row is cached")


def test_ordinary_beat_entries_run_once_under_two_dispatchers(deployment):
    settings = (
        "from celeryconfig import *\n"
        "entry = {'task': 'rowcache_tasks.tasks.refresh_now', 'schedule': 1.0, 'args': ('inv', ['1'])}\n"
        "beat_schedule = {'again': entry}\n"
    )
    (deployment.folder / "with_entries.py").write_text(settings)
    env = {"CELERY_CONFIG_MODULE": "with_entries", "PYTHONPATH": f"{deployment.folder}:{deployment.env['PYTHONPATH']}"}
    for n in (1, 2):
        deployment.start_beat(f"beat{n}", **env)
        wait_until(lambda n=n: "dispatching" in deployment.log(f"beat{n}"), "the dispatcher is ready")
    queue = "rowcache.schedule"
    broker = connect(deployment.valkey.url_for(1), "test")
    wait_until(lambda: broker.llen(queue) >= 1, "the entry was sent")
    started, before = time.monotonic(), broker.llen(queue)
    wait_until(lambda: broker.llen(queue) >= before + 4, "the entry was sent four times more")
    assert time.monotonic() - started > 2.5, "once a second, not once for each dispatcher"
    broker.close()


def test_row_that_is_not_in_the_database_is_dropped_after_some_tries(deployment, inv):
    deployment.start_beat()
    deployment.start_worker(ROWCACHE_MAX_BACKOFF="0.1")
    deployment.schedule.put_rows({"4711": (3600, 0), "1": (3600, 0)})
    wait_until(lambda: deployment.client.zscore("delay:", "4711") is None, "the row is dropped")
    assert deployment.stat("missing") == 5
    assert inv.get("1")


def test_bad_row_id_fails_alone_and_is_recorded(deployment, inv):
    deployment.start_beat()
    deployment.start_worker()
    client = deployment.client
    client.zadd("delay:", {"abc": 3600, "1": 3600, b"\xff": 3600, "": 3600})
    client.zadd("schedule:", {"abc": 0, "1": 0, b"\xff": 0, "": 0})
    wait_until(lambda: inv.get("1"), "the good row is cached")
    wait_until(lambda: client.hlen("failures:") == 2, "the bad ones are recorded")
    assert client.zscore("delay:", "") is None, "no row has the empty id"
    assert "abc" in json.loads(client.hget("failures:", "abc"))["error"]


def test_schedule_table_whose_pool_process_was_killed_is_run_again(deployment):
    worker = deployment.start_worker()
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
    with locked_table(deployment):
        deployment.run("from rowcache_tasks.tasks import schedule_table; schedule_table.delay('inv', 3600)")
        wait_until(lambda: waiting_selects(deployment), "the table is being read")
        for child in pool_children(worker):
            os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: deployment.client.zcard("schedule:") == 1000, "all rows are scheduled")


@contextmanager
def locked_table(deployment):
    """Hold a lock under which every SELECT of the table waits."""
    with psycopg.connect(deployment.database_url.replace("+psycopg", "")) as connection:
        connection.execute("LOCK TABLE inventory IN ACCESS EXCLUSIVE MODE")
        yield


def waiting_selects(deployment):
    (count,) = deployment.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )[0]
    return count
