"""Servers and an empty deployment for a program that measures."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

from support.deployment import Deployment

from rowcache_tasks.demo.servers import Postgres, Valkey


@contextmanager
def open_deployment(rows, *, postgres_args=()):
    """Give a deployment with a table inventory of the rows 1 to `rows`, and its PostgreSQL server."""
    folder = tempfile.TemporaryDirectory(prefix="stress-")
    with folder as name, Postgres(args=postgres_args) as postgres, Valkey(persistent=True) as valkey:
        deployment = Deployment(valkey, postgres.create_database("stress"), Path(name))
        deployment.sql("CREATE TABLE inventory (id bigint PRIMARY KEY, name text, stock int NOT NULL)")
        deployment.sql(f"INSERT INTO inventory SELECT n, 'item ' || n, 0 FROM generate_series(1, {rows}) n")
        try:
            yield deployment, postgres
        finally:
            deployment.stop()
