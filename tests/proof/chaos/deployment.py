"""Deployment with breakable links: servers, proxies, dispatchers, workers, and the environment of each."""

import json
import os
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg
from proof.chaos.proxy import Proxy
from proof.chaos.supervisor import Supervisor

from demo.servers import Postgres, Valkey

TABLES = {"inv": {"table": "stock", "key": "id"}}
DISPATCHERS = ("dispatcher1", "dispatcher2")
WORKERS = ("worker1", "worker2")
CONCURRENCY = 2
SLOW_ROWS = 20
"""One row in 20 is slow to read, so that some batches are being read at any time."""

SCHEMA = """
CREATE TABLE inventory (id bigint PRIMARY KEY, name text NOT NULL, version bigint NOT NULL);
CREATE VIEW stock AS SELECT id, name, version,
    CASE WHEN id % {slow_rows} = 0 THEN pg_sleep({slow_s})::text END AS pause FROM inventory;
INSERT INTO inventory SELECT n, 'item ' || n, 1 FROM generate_series(1, {rows}) n;
"""


class ChaosDeployment:
    """Two dispatchers and two prefork workers that reach their servers only through proxies.

    The application, the database writer and the observer connect directly.
    """

    def __init__(self, root, folder, lease_s):
        self.folder = folder
        self.lease_s = lease_s
        self.cache = Valkey(persistent=True)
        self.broker = Valkey(persistent=True)
        self.postgres = Postgres()
        self.supervisor = Supervisor(root, folder)
        self.links = {}
        self._root = root

    def start_servers(self, rows, slow_s):
        self.cache.start()
        self.broker.start()
        self.postgres.start()
        self.database_url = self.postgres.create_database("chaos")
        with psycopg.connect(self.database_url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(SCHEMA.format(slow_rows=SLOW_ROWS, slow_s=slow_s, rows=rows))
        cache, broker = (unquote(urlsplit(server.url).path) for server in (self.cache, self.broker))
        postgres = parse_qs(urlsplit(self.database_url).query)["host"][0] + "/.s.PGSQL.5432"
        for name, path in {
            "workers-cache": cache,
            "workers-broker": broker,
            "workers-database": postgres,
            "dispatchers-cache": cache,
            "dispatchers-broker": broker,
        }.items():
            self.links[name] = Proxy(name, path)
            self.links[name].start()

    def start_processes(self):
        self.supervisor.start()
        for name in DISPATCHERS:
            env = self._env(self._redis_url("dispatchers-cache"), self._redis_url("dispatchers-broker"))
            self.supervisor.add(name, env, "beat", "--loglevel=info", "--pidfile=")
        for name in WORKERS:
            env = self._env(self._redis_url("workers-cache"), self._redis_url("workers-broker"))
            port = self.links["workers-database"].port
            env["ROWCACHE_DATABASE_URL"] = f"postgresql+psycopg://postgres@127.0.0.1:{port}/chaos"
            # As in docker-compose.yml
            options = (f"--concurrency={CONCURRENCY}", "--without-gossip", "--without-mingle", "--loglevel=info")
            self.supervisor.add(name, env, "worker", *options, f"--hostname={name}@%h")

    def use_directly(self):
        """Point the Celery application of this process at the cache and the broker without proxies."""
        os.environ.clear()
        os.environ.update(self._env(self.cache.url, self.broker.broker_url()))

    def stop(self):
        self.supervisor.stop()
        for link in self.links.values():
            link.stop()
        for server in (self.postgres, self.broker, self.cache):
            server.stop()

    def _redis_url(self, link):
        return f"redis://127.0.0.1:{self.links[link].port}/0"

    def _env(self, cache_url, broker_url):
        # Settings of the user for another deployment are left out.
        env = {name: value for name, value in os.environ.items() if not name.startswith(("CELERY_", "ROWCACHE_", "PG"))}
        return env | {
            "ROWCACHE_REDIS_URL": cache_url,
            "CELERY_BROKER_URL": broker_url,
            "ROWCACHE_TABLES": json.dumps(TABLES),
            "ROWCACHE_LEASE": str(self.lease_s),
            # Small batches, so that many of them are in flight.
            "ROWCACHE_BATCH_SIZE": "25",
            "PYTHONPATH": str(self._root),
            "TMPDIR": str(self.folder),  # a killed worker leaves files there
        }
