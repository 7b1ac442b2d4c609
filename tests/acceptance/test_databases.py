"""One deployment that reads several databases of different kinds."""

import json

import pytest
from sqlalchemy import create_engine
from support.fork_server import run_forked
from support.project import CELERY
from support.waiting import wait_until

from demo.servers import Postgres
from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.rows import Schedule

pytestmark = pytest.mark.acceptance

ITEMS = ("CREATE TABLE item (id integer PRIMARY KEY, stock integer)", "INSERT INTO item VALUES (1, 0)")


def test_database_that_is_down_stops_only_its_tables_and_no_worker_that_starts(deployment, tmp_path):
    deployment.passwords = {}  # the roles of the tests have no rights to the namespaces of the others
    urls = {"file": f"sqlite:///{tmp_path}/file.db"}
    with Postgres() as server:
        deployment.database_url = urls["own"] = server.create_database("shop")
        for url in urls.values():
            engine = create_engine(url)
            with engine.begin() as connection:
                for statement in ITEMS:
                    connection.exec_driver_sql(statement)
            engine.dispose()
        tables = {name: Table(name, "item", name, database=name) for name in urls}
        deployment.env |= {
            "ROWCACHE_DATABASE_URL": "",
            "ROWCACHE_DATABASES": json.dumps(urls),
            "ROWCACHE_TABLES": json.dumps({name: {"table": "item", "database": name} for name in urls}),
        }

        def unchanged(name):
            return int(deployment.client.hget(f"stats:{name}", "unchanged") or 0)

        def goes_on(name):
            before = unchanged(name)
            wait_until(lambda: unchanged(name) > before + 2, f"{name} goes on")

        deployment.start_beat()
        worker = deployment.start_worker()
        for table in tables.values():
            Schedule(deployment.client, table).put_rows({"1": (0.2, 0)})
        for name in urls:
            wait_until(lambda name=name: deployment.client.get(f"{name}:1"), f"a row of {name} is cached")
        server.kill()
        wait_until(lambda: deployment.client.hget("failures:own", "1"), "the row of the server that is down fails")
        goes_on("file")

        worker.kill()
        deployment.start_worker("later")
        goes_on("file")
        assert "rowcache_databases['own'] postgresql+psycopg://" in deployment.log("later")
        assert deployment.log("later").count("cannot be reached: ") == 1
        found = run_forked([*CELERY, "rowcache", "doctor"], env=deployment.env).stdout
        assert "start it, or correct rowcache_databases['own']" in found
        assert "'item', with its key and columns" in found

        server.start()
        deployment.sql("UPDATE item SET stock = 7")
        wait_until(lambda: json.loads(deployment.client.get("own:1"))["stock"] == 7, "its rows are fresh again")
