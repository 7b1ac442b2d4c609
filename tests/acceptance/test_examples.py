"""The services of examples/, served for real and asked by a real HTTP client."""

import itertools
import json
import os
import signal
import subprocess
import sys

import pytest
from support.deployment import Deployment
from support.example_service import ask, create_items, price_of, run_client, start_pgbench, start_service
from support.project import ROOT
from support.waiting import wait_until

from demo.servers import Postgres, Valkey

pytestmark = pytest.mark.acceptance

ROWS = 400
SOLD = 200
"""Items 1 to 200 are sold by pgbench. The first half of them is scheduled, the other comes when it is asked for."""
SELDOM = 201
"""An item that is refreshed once an hour. The ones above are not scheduled."""

unused = itertools.count(SELDOM + 1)
"""Items that were never asked for."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A dispatcher, a worker, and servers that may be stopped."""
    with Postgres() as postgres, Valkey(persistent=True) as valkey:
        shop = Deployment(valkey, postgres.create_database("shop"), tmp_path_factory.mktemp("shop"))
        shop.postgres = postgres
        create_items(shop, ROWS)
        shop.schedule.put_rows({str(n): (1, 0) for n in range(1, SOLD // 2 + 1)} | {str(SELDOM): (3600, 0)})
        shop.start_beat()
        shop.start_worker()
        yield shop
        shop.stop()


@pytest.fixture(scope="module", params=["fastapi", "flask"])
def url(shop, request):
    url, _ = start_service(shop, request.param)
    wait_until(lambda: shop.client.exists(f"inv:{SELDOM}"), "the scheduled items are cached")
    return url


def is_as_in_the_database(url, item_id):
    return ask(url, f"/items/{item_id}")[2] == ask(url, f"/items/{item_id}?source=database")[2]


@pytest.fixture
def outage(shop, url):
    """Afterwards the servers are there again, and the service has noticed: it caches items."""
    yield
    shop.postgres.start()
    shop.valkey.start()
    os.kill(shop.valkey.pid, signal.SIGCONT)
    item_id = next(unused)
    wait_until(lambda: ask(url, f"/items/{item_id}?source=database")[0] == 200, "the database is read again")
    wait_until(
        lambda: ask(url, f"/items/{item_id}")[0] == 200 and shop.client.exists(f"inv:{item_id}"),
        "items are cached again",
    )


def test_every_answer_is_right_while_pgbench_writes(shop, url):
    pgbench = start_pgbench(shop, shop.postgres, SOLD, rate=200, seconds=2)
    seen = run_client(url, f"--rows={SOLD}", "--seconds=0.7", "--connections=16", "--mixed")
    assert seen["wrong"] == []
    assert seen["answers"] >= 16
    assert seen["changed"] > 0, "items whose changes were seen"
    assert pgbench.wait(60) == 0, pgbench.log_tail()
    for item_id in (1, SOLD // 2):
        wait_until(lambda item_id=item_id: is_as_in_the_database(url, item_id), f"item {item_id} is fresh")


@pytest.mark.parametrize("is_scheduled", [True, False])
def test_change_is_seen_soon(url, is_scheduled):
    path = f"/items/{SELDOM if is_scheduled else next(unused)}"
    before = ask(url, path)[2]
    status, _, after = ask(url, path, {"quantity": before["quantity"] + 1})
    assert (status, after["quantity"], after["price"]) == (200, before["quantity"] + 1, before["price"])
    wait_until(lambda: ask(url, path)[2] == after, "the change is seen")
    assert ask(url, f"{path}?source=database")[2] == after


def test_item_that_nobody_asked_for_is_read_from_the_database_once(shop, url):
    item_id = next(unused)
    status, headers, item = ask(url, f"/items/{item_id}")
    assert (status, item["id"], item["price"]) == (200, item_id, price_of(item_id, 0))
    assert int(headers["Age"]) < 60
    shop.sql("UPDATE inventory SET quantity = 9 WHERE id = %s", item_id)
    assert ask(url, f"/items/{item_id}")[2]["quantity"] == 0, "it is cached now"
    assert ask(url, f"/items/{item_id}?source=database")[2]["quantity"] == 9


def test_row_that_another_program_wrote_has_no_age(shop, url):
    item_id = next(unused)
    written = ask(url, f"/items/{item_id}?source=database")[2]
    shop.client.set(f"inv:{item_id}", json.dumps(written))
    status, headers, item = ask(url, f"/items/{item_id}")
    assert (status, item) == (200, written)
    assert "Age" not in headers


def test_what_does_not_exist_or_makes_no_sense_is_refused(url):
    items = ask(url, f"/items?ids=3,{ROWS + 1},1")[2]
    assert [(key, item and item["id"]) for key, item in items.items()] == [("3", 3), (str(ROWS + 1), None), ("1", 1)]
    for path in (f"/items/{ROWS + 1}", f"/items/{ROWS + 1}?source=database"):
        assert ask(url, path)[::2] == (404, {"detail": f"there is no item {ROWS + 1}"})
    assert ask(url, f"/items/{ROWS + 1}", {"quantity": 1})[0] == 404
    for path in ("/items?ids=", "/items?ids=1,a", f"/items?ids={2**63}", "/items"):
        assert ask(url, path)[0] in {400, 422}, path
    path = f"/items/{next(unused)}"
    for change in ({}, {"quantity": -1}, {"quantity": 2**31}, {"quantity": "many"}):
        assert ask(url, path, change)[0] in {400, 422}, change
    assert ask(url, path)[2]["quantity"] == 0


@pytest.mark.usefixtures("outage")
def test_service_answers_while_a_server_is_away_and_says_so_when_none_can(shop, url):
    cached, other = f"/items/{next(unused)}", f"/items/{next(unused)}"
    item = ask(url, cached)[2]
    shop.postgres.kill()
    assert ask(url, cached)[::2] == (200, item)
    for path, change in ((other, None), (f"{cached}?source=database", None), (cached, {"quantity": 1})):
        status, _, answer = ask(url, path, change)
        assert (status, answer) == (503, {"detail": "neither the cache nor the database can answer just now"})
    shop.postgres.start()
    wait_until(lambda: ask(url, other)[0] == 200, "items are read again")
    shop.valkey.kill()
    wait_until(lambda: ask(url, other)[0] == 200, "the database answers instead")
    shop.postgres.kill()
    wait_until(lambda: ask(url, other)[0] == 503, "nobody can answer")
    shop.valkey.start()
    wait_until(lambda: ask(url, cached)[::2] == (200, item), "what was cached still is")


@pytest.mark.usefixtures("outage")
def test_service_answers_while_redis_hangs(shop, url):
    path = f"/items/{next(unused)}"
    item = ask(url, path)[2]
    os.kill(shop.valkey.pid, signal.SIGSTOP)
    assert ask(url, path)[::2] == (200, item), "the database answers instead"


def test_tests_of_the_services_pass(postgres):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:valkey",
        "-p",
        "no:cacheprovider",
        "examples",
    ]
    env = os.environ | {"SHOP_TEST_DATABASE_URL": postgres.create_database("examples")}
    env = {name: value for name, value in env.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1].startswith("2 passed"), done.stdout + done.stderr
