from fastapi.testclient import TestClient

from examples.fastapi_shop import app
from rowcache_tasks.tasks import schedule_row


def test_sold_item_is_fresh(rowcache):
    schedule_row.delay("inv", 1, 60)
    rowcache.refresh()
    with TestClient(app) as client:
        assert client.get("/items/1").json()["quantity"] == 5
        client.put("/items/1", json={"quantity": 4}).raise_for_status()
        rowcache.refresh()
        assert client.get("/items/1").json()["quantity"] == 4
        assert client.get("/items?ids=2,3").json()["3"] is None
