"""Hosts that are cut off: cache, database, dispatcher and two workers, each with its own network."""

import os
import time

import psycopg
import pytest
from support.forked_child import python_child
from support.hosts import Hosts, are_possible
from support.project import CELERY, ROOT
from support.waiting import wait_until

from demo.servers import Postgres, Valkey
from demo.servers.child import Child
from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

pytestmark = [
    pytest.mark.long,
    pytest.mark.minutes,
    pytest.mark.skipif(not are_possible(), reason="needs root, ip and bridge (apt-get install iproute2)"),
]
ROWS = 200
CUT_S = 20
WORKERS = int(os.environ.get("ROWCACHE_WORKERS", "8"))
LOOKUP = "WITH RECURSIVE resolved"
"""Beginning of the statement that reads the columns of a table."""
ANYBODY = "local all all trust\nhost all all all trust\n"


class HostedValkey(Valkey):
    """Valkey on a host of its own."""

    def __init__(self, hosts):
        super().__init__(args=["--port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no"])
        self._hosts = hosts

    def _prepare(self):
        return self._hosts.inside("cache", super()._prepare())


class Network:
    """A deployment with default settings on five hosts; the database is on that of the test."""

    def __init__(self, hosts, valkey, database, folder):
        self.hosts = hosts
        self.client = connect(valkey.url, "test")
        self.schedule = Schedule(self.client, Table("inv", "inventory"))
        self.folder = folder
        url = f"redis://{hosts.address('cache')}:6379"
        self.env = os.environ | {
            "ROWCACHE_REDIS_URL": f"{url}/0",
            "CELERY_BROKER_URL": f"{url}/1",
            "ROWCACHE_DATABASE_URL": database,
            "PYTHONPATH": str(ROOT),
        }
        self.children = []

    def start(self, host, *arguments):
        argv = self.hosts.inside(host, [*CELERY, *arguments])
        child = Child(argv, env=self.env, log=self.folder / f"{host}.log", cwd=ROOT)
        child.start()
        self.children.append(child)

    def start_many(self, count):
        """Start workers of one process each on the host of the test."""
        for n in range(count):
            argv = [*CELERY, "worker", "--concurrency=1", f"--hostname=many{n}@%h", "--loglevel=warning"]
            child = python_child(argv, env=self.env, log=self.folder / f"many{n}.log", cwd=ROOT)
            child.start()
            self.children.append(child)

    def oldest_s(self):
        """Return the age of the oldest value; infinite while one is missing."""
        seconds, microseconds = self.client.time()
        scores = [score for _, score in self.client.zrange("refreshed:", 0, 0, withscores=True)]
        count = self.client.zcard("refreshed:")
        return seconds + microseconds / 1e6 - scores[0] if count == ROWS else float("inf")

    def watch(self, seconds):
        """Return the greatest age in a time."""
        until, greatest = time.monotonic() + seconds, 0.0
        while time.monotonic() < until:
            greatest = max(greatest, self.oldest_s())
            time.sleep(0.1)
        return greatest

    def close(self):
        for child in self.children:
            child.kill()
        self.client.close()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts")
    folder.parent.chmod(0o755)
    folder.chmod(0o755)
    hba = folder / "pg_hba.conf"
    hba.write_text(ANYBODY)
    with Hosts("cache", "beat", "one", "two") as hosts, HostedValkey(hosts) as valkey:
        listening = ["-c", f"listen_addresses={hosts.own_address}", "-c", f"hba_file={hba}", "-c", "log_statement=all"]
        with Postgres(folder / "postgres", args=listening) as postgres:
            postgres.create_database("shop")
            url = f"postgresql+psycopg://postgres@{hosts.own_address}:5432/shop"
            network = Network(hosts, valkey, url, folder)
            network.lookups = lambda: postgres.log.read_text(errors="replace").count(LOOKUP)
            address = postgres.url_for("shop").replace("+psycopg", "")
            with psycopg.connect(address, autocommit=True) as connection:
                connection.execute("CREATE TABLE inventory (id integer PRIMARY KEY, stock integer)")
                connection.execute(f"INSERT INTO inventory SELECT n, 0 FROM generate_series(1, {ROWS}) n")
            network.start("one", "worker", "--concurrency=2", "--hostname=one@%h", "--loglevel=info")
            network.start("two", "worker", "--concurrency=2", "--hostname=two@%h", "--loglevel=info")
            network.start("beat", "beat", "--loglevel=info", "--pidfile=")
            network.schedule.put_rows({str(n): (1.0, n / ROWS) for n in range(1, ROWS + 1)})
            wait_until(lambda: network.watch(2) < 2, "all rows are fresh", timeout_s=120)
            yield network
            network.close()


def test_worker_host_that_is_cut_off_leaves_no_row_older_than_10_s(network):
    network.hosts.cut("one")
    greatest = network.watch(CUT_S)
    network.hosts.heal("one")
    greatest = max(greatest, network.watch(10))
    print(f"worker host cut: oldest {greatest:.1f} s")
    assert greatest < 10


def test_rows_are_fresh_soon_after_the_cache_host_is_back(network):
    wait_until(lambda: network.watch(2) < 2, "all rows are fresh", timeout_s=60)
    network.hosts.cut("cache")
    time.sleep(CUT_S)
    seconds, microseconds = network.client.time()
    network.hosts.heal("cache")
    healed_at = seconds + microseconds / 1e6

    def is_fresh():
        (_, oldest), *_ = network.client.zrange("refreshed:", 0, 0, withscores=True)
        return oldest > healed_at

    wait_until(is_fresh, "all rows are fresh", timeout_s=60)
    seconds, microseconds = network.client.time()
    took_s = seconds + microseconds / 1e6 - healed_at
    print(f"cache host cut: fresh {took_s:.1f} s after the heal")
    assert took_s < 10, "2 s on a machine with nothing else to do"


def test_workers_that_start_at_once_look_a_table_up_a_few_times_each(network):
    before, began = network.lookups(), time.monotonic()
    network.start_many(WORKERS)
    wait_until(lambda: network.client.zcard("processes:") >= WORKERS + 3, "all workers are alive", timeout_s=240)
    wait_until(lambda: network.watch(2) < 5, "all rows are fresh", timeout_s=60)
    took_s, lookups = time.monotonic() - began, network.lookups() - before
    print(f"{WORKERS} workers in {took_s:.0f} s: {lookups} look-ups")
    # Of each worker one at its start and one of its process, and of each process one in ten seconds.
    assert lookups <= WORKERS * 2 + (WORKERS + 4) * (took_s / 10 + 1)
