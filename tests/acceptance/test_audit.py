"""`rowcache audit` while rows are written and workers are killed."""

import json
import random
import threading

import psycopg
import pytest
from support.fork_server import run_forked
from support.project import CELERY
from support.waiting import wait_until

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

pytestmark = pytest.mark.acceptance

CONFIG = """
rowcache_tables = {"inv": {"table": "inventory"}}
rowcache_lease = 5
beat_schedule = {"audit": {"task": "rowcache_tasks.tasks.audit_table", "schedule": 1, "args": ("inv", 100)}}
"""
BUSY = [str(n) for n in range(1, 301)]
"""Rows that are written, touched, dropped and scheduled all the time."""
WRONG = {
    "older_than_promised": [str(n) for n in range(901, 905)],
    "missing": [str(n) for n in range(905, 909)],
    "should_not_be_there": ["909", "910", "911", "912", "x", "y", "z", "4711"],
    "unreadable": ["a", "b", "c", "no number"],
}


class Load(threading.Thread):
    """Application: changes rows in the database and in the schedule until it is stopped."""

    def __init__(self, deployment):
        super().__init__(daemon=True)
        self._url = deployment.database_url.replace("+psycopg", "")
        self._client = connect(deployment.valkey.url, "load")
        self._random = random.Random(1)
        self._is_over = threading.Event()
        self.turns = 0

    def run(self):
        schedule = Schedule(self._client, Table("inv", "inventory"))
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._is_over.wait(0.05):
                some = self._random.sample(BUSY, 20)
                connection.execute("UPDATE inventory SET stock = stock + 1 WHERE id = ANY(%s)", [[*map(int, some)]])
                schedule.touch_rows(some[:10])
                schedule.drop_rows(some[10:12])
                schedule.put_rows(dict.fromkeys(some[10:12], (2, 0)))
                self.turns += 1

    def stop(self):
        self._is_over.set()
        self.join()
        self._client.close()


def inject(deployment, kind):
    """Make the rows of a kind wrong, such as a foreign client or a lost write would."""
    client, row_ids = deployment.client, WRONG[kind]
    if kind == "older_than_promised":
        deployment.sql("UPDATE inventory SET stock = -1 WHERE id BETWEEN 901 AND 904")
    elif kind == "missing":
        client.delete(*(f"inv:{row_id}" for row_id in row_ids))
    elif kind == "should_not_be_there":
        deployment.sql("DELETE FROM inventory WHERE id BETWEEN 909 AND 912")
        client.mset({f"inv:{row_id}": "{}" for row_id in row_ids[4:]})
    else:
        deployment.schedule.put_rows(dict.fromkeys(row_ids, (1000, 0)))
        wait_until(lambda: client.hlen("failures:") >= len(row_ids), "their refreshes have failed")
    for row_id in row_ids if kind != "unreadable" else ():
        for key in ("refreshed:", "changed:"):
            client.zadd(key, {row_id: client.time()[0] - 5000}, xx=True)


def audit(deployment):
    """Return the rows that are wrong, by kind."""
    command = [*CELERY, "rowcache", "audit", "inv", "--sample", "100000", "--grace", "300", "--json"]
    done = run_forked(command, env=deployment.env_of(None), cwd=deployment.cwd)
    found = json.loads(done.stdout)
    assert found["changing"] < len(BUSY)
    wrong = [(row["kind"], row["row_id"]) for row in found["rows"] if row["kind"] in WRONG]
    assert (done.returncode, found["wrong"]) == (int(bool(wrong)), len(wrong))
    return sorted(wrong)


def test_each_injected_difference_is_found_and_no_other_while_workers_are_killed(deployment):
    deployment.configure(CONFIG)
    deployment.start_beat()
    worker = deployment.start_worker()
    deployment.schedule.put_rows({**dict.fromkeys(BUSY, (2, 0)), **{str(n): (1000, 0) for n in range(901, 1001)}})
    wait_until(lambda: deployment.client.zcard("refreshed:") == 400, "all rows are cached")
    load, expected = Load(deployment), []
    load.start()
    assert audit(deployment) == []
    for kind, row_ids in WRONG.items():
        inject(deployment, kind)
        expected += [(kind, row_id) for row_id in row_ids]
        worker.kill()
        worker = deployment.start_worker(kind)
        assert audit(deployment) == sorted(expected)
    wait_until(lambda: load.turns > 20, "rows were written all the time")
    load.stop()
    assert len(expected) == 20
    wait_until(lambda: deployment.stat("audit_wrong"), "the beat entry has counted them")
