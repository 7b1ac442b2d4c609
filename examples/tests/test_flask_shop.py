from examples.flask_shop import create_app
from rowcache_tasks.tasks import schedule_row


def test_sold_item_is_fresh(rowcache):
    schedule_row.delay("inv", 1, 60)
    rowcache.refresh()
    client = create_app().test_client()
    assert client.get("/items/1").json["quantity"] == 5
    assert client.put("/items/1", json={"quantity": 4}).status_code == 200
    rowcache.refresh()
    assert client.get("/items/1").json["quantity"] == 4
    assert client.get("/items?ids=2,3").json["3"] is None
