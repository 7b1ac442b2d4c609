"""The project of examples/django_shop: its server under load, its worker, beat and commands."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import psycopg
import pytest
from sqlalchemy import make_url
from support.example_service import ask
from support.fork_server import run_forked
from support.forked_child import python_child
from support.free_port import free_port
from support.project import ROOT
from support.waiting import wait_until

from demo.servers import Valkey

pytestmark = pytest.mark.acceptance

PROJECT = ROOT / "examples" / "django_shop"
ITEMS, STOCK = 20, 10


@pytest.fixture(scope="module")
def shop(postgres, tmp_path_factory):
    pytest.importorskip("django")
    folder = tmp_path_factory.mktemp("django")
    database_url = postgres.create_database("django_shop")
    url = make_url(database_url)
    host = url.query.get("host") or url.host
    with Valkey() as valkey, ExitStack() as stack:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("ROWCACHE", "CELERY"))} | {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{PROJECT}",
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "ROWCACHE_REDIS_URL": valkey.url,
            "CELERY_BROKER_URL": valkey.broker_url(1),
            "PGDATABASE": url.database,
            "PGUSER": url.username or "postgres",
            "PGPASSWORD": url.password or "",
            "PGHOST": str(host),
            "PGPORT": str(url.port or url.query.get("port") or ""),
        }

        def manage(*arguments):
            return run_forked([sys.executable, str(PROJECT / "manage.py"), *arguments], env=env, cwd=PROJECT)

        def start(name, *arguments):
            command = [sys.executable, "-m", *arguments]
            return stack.enter_context(python_child(command, env=env, log=folder / f"{name}.log", cwd=PROJECT))

        done = manage("migrate", "--run-syncdb")
        assert done.returncode == 0, done.stderr
        with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(
                "INSERT INTO inventory_item (id, name, stock) SELECT n, 'item ' || n, %s FROM generate_series(1, %s) n",
                [STOCK, ITEMS],
            )
            queues = "celery,rowcache.refresh,rowcache.schedule"
            start("worker", "celery", "-A", "shop", "worker", "--loglevel=info", "-c", "2", "-Q", queues)
            start("beat", "celery", "-A", "shop", "beat", "-S", "rowcache", "--pidfile=")
            port = free_port()
            service = start("server", "waitress", f"--listen=127.0.0.1:{port}", "shop.wsgi:application")

            def answers():
                assert service.is_running, service.log_tail()
                with suppress(OSError):
                    return ask(f"http://127.0.0.1:{port}", "/items/")[0] == 200

            wait_until(answers, "the server answers")
            yield SimpleNamespace(url=f"http://127.0.0.1:{port}", manage=manage, sql=connection.execute, folder=folder)


def test_every_sale_is_in_the_cache_soon_after_its_commit(shop):
    done = shop.manage("rowcache", "schedule", "inv", "3600", *map(str, range(1, ITEMS)))
    assert done.returncode == 0, done.stderr
    with ThreadPoolExecutor(8) as threads:
        sales = list(
            threads.map(
                lambda n: (
                    ask(shop.url, f"/items/{n % ITEMS + 1}"),
                    ask(shop.url, f"/items/{n % ITEMS + 1}/buy", {}, "POST"),
                )[1],
                range(ITEMS * (STOCK + 2)),
            )
        )
    assert sorted(status for status, *_ in sales) == [200] * (ITEMS * STOCK) + [409] * (ITEMS * 2)
    assert shop.sql("SELECT sum(stock) FROM inventory_item").fetchone() == (0,)
    for item in range(1, ITEMS + 1):
        wait_until(lambda item=item: ask(shop.url, f"/items/{item}")[2]["stock"] == 0, "the last sale is seen")
    assert len(ask(shop.url, "/items/")[2]["items"]) == ITEMS


def test_commands_of_manage_py_are_those_of_celery(shop):
    done = shop.manage("rowcache", "status", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tables"].keys() == {"inv"}
    done = shop.manage("rowcache", "get", "inv")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    done = shop.manage("rowcache", "doctor")
    assert done.returncode == 0, done.stdout
