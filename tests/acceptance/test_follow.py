"""Rows that are refreshed when they change in the database, with `rowcache follow`."""

import json
import signal
from functools import partial

import psycopg
import pytest
from support.fork_server import run_forked
from support.project import CELERY
from support.waiting import wait_until

from demo.servers import Postgres

pytestmark = pytest.mark.acceptance

TABLE = "CREATE TABLE inventory (id integer PRIMARY KEY, stock integer, updated_at timestamptz NOT NULL DEFAULT now())"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that may be stopped, with no slot at the start of a test."""
    with Postgres(tmp_path_factory.mktemp("shop"), args=("-c", "wal_level=logical")) as server:
        yield server


@pytest.fixture
def shop(deployment, server):
    """Deployment with a database of its own, whose rows are refreshed once an hour."""
    deployment.database_url = server.url
    deployment.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    deployment.sql("DROP DATABASE IF EXISTS shop WITH (FORCE)")
    deployment.database_url = deployment.env["ROWCACHE_DATABASE_URL"] = server.create_database("shop")
    deployment.server = server
    deployment.rowcache = partial(run_rowcache, deployment)
    deployment.sql(TABLE)
    deployment.sql("INSERT INTO inventory SELECT n, 0 FROM generate_series(1, 100) n")
    deployment.schedule.put_rows({str(n): (3600, 0) for n in range(1, 101)})
    deployment.start_beat()
    deployment.start_worker()
    wait_until(lambda: deployment.stat("refreshed") == 100, "all rows are cached")
    return deployment


def run_rowcache(deployment, *arguments):
    done = run_forked([*CELERY, "rowcache", *arguments], env=deployment.env_of("operator"))
    assert done.returncode == 0, done.stderr
    return done.stdout


def stock(deployment, row_id):
    return json.loads(deployment.client.get(f"inv:{row_id}"))["stock"]


def change(deployment, row_id):
    (changed,) = deployment.sql(
        f"UPDATE inventory SET stock = stock + 1, updated_at = now() WHERE id = {row_id} RETURNING stock"
    )
    return changed[0]


def start(deployment, name, *arguments):
    follower = deployment.start(name, "rowcache", "follow", "inv", *arguments)
    wait_until(lambda: "following inv by" in deployment.log(name), "it is ready")
    return follower


SOURCES = {
    "watermark": ("--column", "updated_at", "--every", "0.1"),
    "notify": (),
    "slot": ("--source", "slot", "--every", "0.1"),
}


def set_up(deployment, source):
    """Run the SQL of a source."""
    if source == "notify":
        deployment.sql(deployment.rowcache("follow", "inv", "--sql"))
    if source == "slot":
        for statement in deployment.rowcache("follow", "inv", "--source", "slot", "--sql").splitlines():
            deployment.sql(statement)


@pytest.mark.parametrize("source", SOURCES)
def test_changes_are_followed_again_after_a_kill_and_a_restart_of_the_database(shop, source):
    set_up(shop, source)
    options = SOURCES[source]
    first, second = start(shop, "first", *options), start(shop, "second", *options)
    for row_id in (1, 2):
        expected = change(shop, row_id)
        wait_until(lambda row_id=row_id, expected=expected: stock(shop, row_id) == expected, "the change is cached")
    first.kill()
    expected = change(shop, 3)
    wait_until(lambda: stock(shop, 3) == expected, "the other follower goes on")
    shop.server.stop()
    name = "the slot" if source == "slot" else "the database"
    wait_until(lambda: f"{name} is away" in shop.log("second"), "that is a warning")
    shop.server.start()
    wait_until(lambda: f"{name} is back" in shop.log("second"), "that is a line")
    expected = change(shop, 4)
    wait_until(lambda: stock(shop, 4) == expected, "the change is cached")
    assert shop.log("second").count(f"{name} is away") == shop.log("second").count("WARNING") - 1 == 1
    assert shop.client.zcard("schedule:") == 100
    second.stop(signal.SIGTERM, timeout=60)
    assert second.poll() == 0


@pytest.mark.parametrize("source", ["slot", "watermark"])
def test_follower_notes_itself_during_a_look_that_takes_longer_than_a_lease(shop, source):
    set_up(shop, source)
    shop.env["ROWCACHE_LEASE"] = "1" if source == "slot" else "60"
    start(shop, "one", *SOURCES[source])
    url = shop.server.url_for("shop").replace("+psycopg", "")

    def noted_at():
        return max(at for note, at in shop.client.zrange("processes:", 0, -1, withscores=True) if b'"follower"' in note)

    with psycopg.connect(url) as changing, psycopg.connect(url) as locking:
        changing.execute("UPDATE inventory SET stock = 7, updated_at = now() WHERE id = 1")
        if source == "slot":
            locking.execute("LOCK TABLE pg_publication IN ACCESS EXCLUSIVE MODE")
        changing.commit()
        if source == "watermark":
            locking.execute("LOCK TABLE inventory IN ACCESS EXCLUSIVE MODE")
        waiting = (
            "SELECT max(now() - query_start) > interval '1.5 s' FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        )
        wait_until(lambda: shop.sql(waiting) == [(True,)], "the look takes long")
        before = noted_at()
        wait_until(lambda: noted_at() > before, "the follower notes itself")
    wait_until(lambda: stock(shop, 1) == 7, "the change is cached")
    assert "WARNING" not in shop.log("one")


def test_slot_that_is_gone_costs_the_interval_until_it_is_made_again(shop):
    set_up(shop, "slot")
    follower = start(shop, "one", *SOURCES["slot"])
    shop.sql("SELECT pg_drop_replication_slot('rowcache')")
    change(shop, 1)
    wait_until(lambda: "the slot is away, so rows are refreshed by their interval" in shop.log("one"), "that is a line")
    shop.sql("SELECT pg_create_logical_replication_slot('rowcache', 'pgoutput')")
    wait_until(lambda: "the slot is back" in shop.log("one"), "it goes on")
    follower.kill()
    expected = change(shop, 2)
    start(shop, "two", *SOURCES["slot"])
    wait_until(lambda: stock(shop, 2) == expected, "a change that was made while none ran is not lost")
    assert shop.log("one").count("WARNING") == 2
    assert shop.client.zcard("schedule:") == 100
