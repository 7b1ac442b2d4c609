"""Moves of a running deployment from one set-up to another, with the commands of docs/set-ups.md."""

import json
import os

import psycopg
import pytest
from support.cluster import Cluster
from support.documented import read_blocks
from support.fork_server import run_forked
from support.project import CELERY, ROOT
from support.rabbitmq import RabbitMQ, missing_programs
from support.sentinels import Sentinels
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks import CacheError, RowCache

pytestmark = [pytest.mark.acceptance, pytest.mark.long, pytest.mark.minutes]

PAGE = ROOT / "docs" / "set-ups.md"
ROWS = [str(number) for number in range(1, 201)]
MAX_AGE_S = 4
"""Of a row that is refreshed once a second, while processes are replaced one after the other."""


class Moved:
    """Deployment whose processes are replaced by others with another environment, one after the other."""

    def __init__(self, deployment, **env):
        self.deployment = deployment
        deployment.passwords = {}
        deployment.env |= env
        self.running = {}
        self.generation = 0

    def replace(self, *kinds, **env):
        """Start the successor of each process, then stop the process."""
        self.deployment.env |= env
        self.generation += 1
        for kind in kinds or ("worker", "beat"):
            old, name = self.running.get(kind), f"{kind}{self.generation}"
            self.running[kind] = getattr(self.deployment, f"start_{kind}")(name)
            wait_until(lambda name=name: "ready: " in self.deployment.log(name), f"{name} is ready")
            if old:
                old.stop()

    def command(self, *words, **env):
        done = run_forked([*CELERY, "rowcache", *words], env=self.deployment.env | env, cwd=self.deployment.cwd)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def change(self, number, **env):
        """Schedule a row by a task of the application."""
        code = f"from rowcache_tasks.tasks import schedule_row; schedule_row.delay('inv', '{number}', 1)"
        self.deployment.run(code, **env)


@pytest.fixture
def ages():
    """Function that returns the age of the oldest row; infinite while one cannot be read."""
    readers = []

    def ages(url, **options):
        if not readers:
            readers.append(RowCache("inv", url=url, namespace="", timeout=10, **options))
        try:
            found = [readers[0].age(row) for row in ROWS[::20]]
        except CacheError:
            return float("inf")
        return max(float("inf") if age is None else age for age in found)

    yield ages
    for reader in readers:
        reader.close()


def test_one_server_becomes_a_pair_behind_sentinels_while_rows_are_refreshed(deployment, tmp_path, ages):
    with Sentinels(tmp_path) as sentinels, Valkey() as broker:
        alone = f"redis://127.0.0.1:{sentinels.pair.port_of(sentinels.pair.primary)}/0"
        moved = Moved(deployment, ROWCACHE_REDIS_URL=alone, CELERY_BROKER_URL=broker.broker_url())
        moved.replace()
        moved.command("schedule", "inv", "1", *ROWS)
        url = sentinels.url().replace("127.0.0.1:1,", "")
        wait_until(lambda: ages(url) < MAX_AGE_S, "the rows are cached")
        for kind in ("worker", "beat"):
            moved.replace(kind, ROWCACHE_REDIS_URL=url)
            assert ages(url) < MAX_AGE_S
        assert "ok    sentinels: 3 answer and can fail 'mymaster' over" in moved.command("doctor")
        sentinels.fail_over()
        wait_until(lambda: ages(url) < MAX_AGE_S, "the rows are fresh after a failover")


def test_table_is_built_on_a_cluster_beside_the_old_server_and_then_read_there(deployment, ages):
    """The copy of the schedule is the block of Python on the page."""
    copy = next(block.text for block in read_blocks(PAGE) if block.language == "python" and "stdin" in block.text)
    with Cluster(3) as cluster, Valkey() as broker:
        old = Moved(deployment)
        old.replace()
        old.command("schedule", "inv", "1", *ROWS)
        wait_until(lambda: len(deployment.client.keys("inv:*")) == len(ROWS), "the rows are cached")
        tables = {"inv": {"table": "inventory", "partitions": 32}}
        new = {
            "ROWCACHE_REDIS_URL": cluster.url,
            "CELERY_BROKER_URL": broker.broker_url(),
            "ROWCACHE_TABLES": json.dumps(tables),
        }
        for name in ("worker", "beat"):
            getattr(deployment, f"start_{name}")(f"new-{name}", **new)
        listed = old.command("rows", "inv", "--limit", "0", "--json")
        (deployment.folder / "rows.jsonl").write_text(listed)
        deployment.run(f"import sys; sys.stdin = open({str(deployment.folder / 'rows.jsonl')!r})\n{copy}", **new)
        wait_until(lambda: ages(cluster.url, partitions=32) < MAX_AGE_S, "all rows are fresh on the cluster")
        status = json.loads(old.command("status", "--json", **new))
        assert status["tables"]["inv"]["scheduled"] == len(ROWS)
        old.command("drop-table", "inv", "--yes")
        assert deployment.client.keys("inv:*") == []
        assert ages(cluster.url) < MAX_AGE_S, "the new one goes on"


@pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}")
def test_broker_moves_to_rabbitmq_and_no_change_is_lost(deployment, ages):
    with RabbitMQ() as rabbit:
        moved = Moved(deployment)
        moved.replace()
        moved.command("schedule", "inv", "1", *ROWS)
        before, after = deployment.env["CELERY_BROKER_URL"], rabbit.url()
        moved.running["beat"].stop()
        wait_until(lambda: deployment.client.zcard("queue:") == 0, "all batches are started")
        moved.change(901)
        moved.replace("worker", CELERY_BROKER_URL=after)
        moved.change(902, CELERY_BROKER_URL=before)  # an application that is not restarted yet
        queue = ("--queues", "rowcache.schedule")
        late = deployment.start_worker("late", *queue, CELERY_BROKER_URL=before)
        moved.running.pop("beat")
        moved.replace("beat")
        moved.change(903)
        wanted = ["901", "902", "903"]
        wait_until(lambda: deployment.client.zmscore("delay:", wanted) == [1, 1, 1], "no change is lost")
        wait_until(lambda: ages(deployment.valkey.url) < MAX_AGE_S, "all rows are fresh")
        late.stop()
        assert "ok    broker at amqp://" in moved.command("doctor")


def test_table_moves_to_another_database(deployment, postgres):
    other = postgres.create_database(f"moved_{os.getpid()}")
    moved = Moved(deployment)
    moved.replace()
    moved.command("schedule", "inv", "1", "1")
    wait_until(lambda: deployment.client.get("inv:1"), "the row is cached")
    moved.command("pause", "inv")
    with psycopg.connect(other.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE TABLE inventory (id bigint PRIMARY KEY, name text, stock int NOT NULL)")
        connection.execute("INSERT INTO inventory VALUES (1, 'moved', 7)")
    tables = {"inv": {"table": "inventory", "database": "stock"}}
    new = {"ROWCACHE_DATABASES": json.dumps({"stock": other}), "ROWCACHE_TABLES": json.dumps(tables)}
    moved.replace(**new)
    assert json.loads(deployment.client.get("inv:1"))["stock"] == 0, "the last value, while it is paused"
    moved.command("resume", "inv")
    wait_until(lambda: json.loads(deployment.client.get("inv:1"))["stock"] == 7, "it is that of the other database")
