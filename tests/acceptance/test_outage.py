"""Rows that cannot be read: one alone, or all of them while the database is away."""

import json

import pytest
from support.fork_server import run_forked
from support.project import CELERY
from support.waiting import wait_until

from demo.servers import Postgres

pytestmark = pytest.mark.acceptance

LEASE_S = 4


def rowcache(deployment, *arguments):
    """Run a command of an operator; returns the lines that it printed."""
    done = run_forked([*CELERY, "rowcache", *arguments], env=deployment.env_of("operator"))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def failure(deployment, row_id):
    return json.loads(deployment.client.hget("failures:", row_id) or "null")


def is_backing_off(deployment, row_id, longest_s=60):
    """Return whether a row that failed more than once waits as long as it should: 2^(n-1) seconds, less up to half."""
    pipeline = deployment.client.pipeline(transaction=True)
    pipeline.hget("failures:", row_id)
    pipeline.zscore("schedule:", row_id)
    record, due = pipeline.execute()
    found = json.loads(record or '{"failures": 0, "at": 0}')
    n = found["failures"]
    pause_s = min(2 ** (n - 1), longest_s)
    return n >= 2 and pause_s / 2 <= due - found["at"] <= pause_s


def test_bad_row_in_a_batch_of_500_costs_the_other_499_nothing(deployment):
    rows = [str(n) for n in range(1, 501)]
    deployment.sql("ALTER TABLE inventory ADD price double precision NOT NULL DEFAULT 1")
    deployment.schedule.put_rows(dict.fromkeys(rows, (3600, 0)))
    deployment.start_beat(ROWCACHE_BATCH_SIZE="500")
    deployment.start_worker()
    wait_until(lambda: deployment.stat("refreshed") == 500, "all rows are cached")
    deployment.sql("UPDATE inventory SET stock = 7")
    deployment.sql("UPDATE inventory SET price = 'Infinity' WHERE id = 250")
    deployment.client.zadd("schedule:", dict.fromkeys(rows, 0))  # all at once, so that one claim takes them
    wait_until(lambda: deployment.stat("refreshed") == 999, "the 499 good rows are cached")
    wait_until(lambda: "{'refreshed': 499, 'failed': 1, 'late_ms'" in deployment.log("worker"), "that was one message")
    assert json.loads(deployment.client.get("inv:499"))["stock"] == 7
    assert json.loads(deployment.client.get("inv:250"))["stock"] == 0, "the last good value stays"

    wait_until(lambda: is_backing_off(deployment, "250"), "the second pause is 1 to 2 seconds, the third 2 to 4, …")
    assert deployment.stat("refreshed") == 999, "it was tried again alone"
    listed = rowcache(deployment, "errors", "--release")
    assert listed[0] == "inv: 1 failing row:"
    assert "price" in listed[1]
    assert listed[2] == "inv: 1 row due now"

    deployment.sql("UPDATE inventory SET price = 2 WHERE id = 250")
    rowcache(deployment, "errors", "--release")
    wait_until(lambda: deployment.stat("refreshed") == 1000, "the row is cached")
    assert failure(deployment, "250") is None


def test_rows_are_fresh_within_a_lease_after_an_outage_of_the_database_and_read_once(deployment):
    rows = [str(n) for n in range(1, 201)]
    deployment.env |= {"ROWCACHE_LEASE": str(LEASE_S)}
    with Postgres() as server:
        deployment.database_url = deployment.env["ROWCACHE_DATABASE_URL"] = server.create_database("shop")
        deployment.sql("CREATE TABLE inventory (id bigint PRIMARY KEY, stock int NOT NULL)")
        deployment.sql("INSERT INTO inventory SELECT n, 0 FROM generate_series(1, 200) n")
        deployment.schedule.put_rows(dict.fromkeys(rows, (3600, 0)))
        beat, worker = deployment.start_beat(), deployment.start_worker()
        wait_until(lambda: deployment.stat("refreshed") == 200, "all rows are cached")
        deployment.sql("UPDATE inventory SET stock = 7")
        server.kill()
        deployment.schedule.touch_rows(rows)
        wait_until(lambda: failure(deployment, "1") and failure(deployment, "1")["failures"] >= 4, "it tries and tries")
        wait_until(lambda: is_backing_off(deployment, "1", LEASE_S), "with pauses that grow up to a lease")
        assert deployment.client.hlen("failures:") == 200
        assert None not in deployment.client.mget([f"inv:{row_id}" for row_id in rows]), "the last good values stay"
        server.start()
        tries = deployment.stat("claimed")
        waiting = deployment.client.pipeline().hkeys("failures:").zrange("schedule:", 0, -1, withscores=True).time()
        failing, due, (now, _) = waiting.execute()
        late = [row_id for row_id, at in due if row_id in failing and at > now + LEASE_S + 1]
        assert late == [], "each that still fails is due within a lease"
        wait_until(lambda: deployment.stat("refreshed") == 400, "all rows are fresh")
        assert deployment.stat("claimed") <= tries + 2 * 200, "no herd: each row is read once, or was just being tried"
        assert deployment.client.hlen("failures:") == 0
        assert beat.is_running
        assert worker.is_running
