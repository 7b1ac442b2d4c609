"""The services of examples/, served for real and asked by a real HTTP client."""

import pytest
from deployment import wait_until
from stress.shop import ask, create_items, price_of, run_client, start_pgbench, start_service

from rowcache_tasks.embedded import Postgres

pytestmark = pytest.mark.acceptance

ROWS, SCHEDULED = 300, 200
"""Items 1 to 200 are scheduled; the others come into the cache when somebody asks for them."""

services = pytest.mark.parametrize("service", ["fastapi", "flask"])


@pytest.fixture
def shop(deployment):
    create_items(deployment, ROWS)
    return deployment


def start_refreshing(deployment, delay_s):
    deployment.schedule.put_rows({str(n): (delay_s, 0) for n in range(1, SCHEDULED + 1)})
    deployment.start_beat()
    deployment.start_worker("worker", "--without-gossip", "--without-mingle")
    wait_until(lambda: deployment.stat("refreshed") >= SCHEDULED, "the scheduled items are cached", timeout_s=60)


@services
def test_every_answer_is_right_while_pgbench_writes(shop, postgres, service):
    start_refreshing(shop, delay_s=1)
    url, _ = start_service(shop, service)
    pgbench = start_pgbench(shop, postgres, ROWS, rate=200, seconds=3)
    seen = run_client(url, f"--rows={ROWS}", "--seconds=2.5", "--connections=16", "--mixed")
    assert seen["wrong"] == []
    assert len(seen["latencies_ms"]) > 50
    assert seen["changed"] > 0, "items whose changes were seen"
    assert pgbench.wait(60) == 0, pgbench.log_tail()

    def is_fresh(item_id):
        return ask(url, f"/items/{item_id}")[2] == ask(url, f"/items/{item_id}?source=database")[2]

    for item_id in (1, SCHEDULED):
        wait_until(lambda item_id=item_id: is_fresh(item_id), f"item {item_id} is as in the database")


@services
def test_change_is_seen_soon_whether_or_not_the_item_is_scheduled(shop, service):
    start_refreshing(shop, delay_s=3600)
    url, _ = start_service(shop, service)
    for item_id in (1, ROWS):
        assert ask(url, f"/items/{item_id}")[2]["quantity"] == 0
        status, _, item = ask(url, f"/items/{item_id}", {"quantity": 7})
        assert (status, item["quantity"], item["price"]) == (200, 7, price_of(item_id, 0))
        changed = wait_until(lambda path=f"/items/{item_id}": ask(url, path)[2]["quantity"] == 7 and path, "it is seen")
        assert ask(url, changed)[2] == ask(url, f"{changed}?source=database")[2]


@services
def test_item_that_nobody_asked_for_before_is_read_from_the_database_once(shop, service):
    url, _ = start_service(shop, service)
    status, headers, item = ask(url, "/items/42")
    assert (status, item["id"], item["price"]) == (200, 42, price_of(42, 0))
    assert int(headers["Age"]) < 60
    shop.sql("UPDATE inventory SET quantity = 9 WHERE id = 42")
    assert ask(url, "/items/42")[2]["quantity"] == 0, "it is cached now"
    assert ask(url, "/items/42?source=database")[2]["quantity"] == 9


@services
def test_what_does_not_exist_or_makes_no_sense_is_refused(shop, service):
    url, _ = start_service(shop, service)
    items = ask(url, f"/items?ids=3,{ROWS + 1},1")[2]
    assert [(key, item and item["id"]) for key, item in items.items()] == [("3", 3), (str(ROWS + 1), None), ("1", 1)]
    for path in (f"/items/{ROWS + 1}", f"/items/{ROWS + 1}?source=database"):
        assert ask(url, path)[::2] == (404, {"detail": f"there is no item {ROWS + 1}"})
    assert ask(url, f"/items/{ROWS + 1}", {"quantity": 1})[0] == 404
    for path in ("/items?ids=", "/items?ids=1,a", "/items"):
        assert ask(url, path)[0] in {400, 422}, path
    for change in ({}, {"quantity": -1}, {"quantity": 2**31}, {"quantity": "many"}):
        assert ask(url, "/items/1", change)[0] in {400, 422}, change
    assert ask(url, "/items/1")[2]["quantity"] == 0


@services
def test_service_answers_while_a_server_is_away_and_says_so_when_it_cannot(deployment, service):
    with Postgres() as server:
        deployment.database_url = deployment.env["ROWCACHE_DATABASE_URL"] = server.create_database("shop")
        create_items(deployment, ROWS)
        url, _ = start_service(deployment, service)
        item = ask(url, "/items/1")[2]

        server.kill()
        assert ask(url, "/items/1")[::2] == (200, item), "the cached item"
        for path, change in (("/items/2", None), ("/items/2?source=database", None), ("/items/1", {"quantity": 1})):
            status, _, answer = ask(url, path, change)
            assert status == 503, (path, answer)
            assert "database" in answer["detail"]
        server.start()
        wait_until(lambda: ask(url, "/items/2")[0] == 200, "items are read again")

        deployment.valkey.kill()
        wait_until(lambda: ask(url, "/items/3")[0] == 200, "the database answers instead")
        server.kill()
        wait_until(lambda: ask(url, "/items/3")[0] == 503, "nobody can answer")
        server.start()
        deployment.valkey.start()
        wait_until(lambda: ask(url, "/items/3")[0] == 200, "all is well again")
        wait_until(lambda: ask(url, "/items/1")[::2] == (200, item), "what was cached still is")
