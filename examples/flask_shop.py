"""Web service for the items of a shop: Flask in threads, RowCache, SQLAlchemy.

README.md has the commands that start it.
"""

import os
from typing import Annotated, Any, NoReturn

from flask import Flask, Response, abort, request
from msgspec import DecodeError, Meta, Struct, convert, json
from sqlalchemy import create_engine, exc, select
from sqlalchemy.orm import sessionmaker

from examples.inventory import InventoryRow, Item
from rowcache_tasks import CacheError, FillError, ReadThrough, RowCache
from rowcache_tasks.orm import refresh_on_commit


class Change(Struct):
    """Body of a PUT request."""

    quantity: Annotated[int, Meta(ge=0, lt=2**31)]


app = Flask(__name__)
engine = create_engine(os.environ["SHOP_DATABASE_URL"], pool_size=16)
sessions = sessionmaker(engine, expire_on_commit=False)
# An item without a schedule is read from the database once and cached for a minute: docs/reading.md.
inventory = RowCache("inv", type=Item, read_through=ReadThrough(when_redis_is_down=True))
refresh_on_commit(sessions, {InventoryRow: "inv"})  # refreshes the items that these sessions change

Ids = Annotated[list[Annotated[int, Meta(ge=0, le=2**63 - 1)]], Meta(max_length=100)]
ITEM = "/items/<int(max=9223372036854775807):item_id>"


@app.get(ITEM)
def read_item(item_id: int) -> Response:
    """Return one item from the cache; with ?source=database from the database."""
    if request.args.get("source") == "database":
        with sessions() as session:
            row = session.get(InventoryRow, item_id) or not_found(item_id)
        return as_json(row.item())
    cached = inventory.get_with_age(item_id, fill=True) or not_found(item_id)
    # None: another program wrote the value.
    return as_json(cached.row, {} if cached.age is None else {"Age": str(int(cached.age))})


@app.get("/items")
def read_items() -> Response:
    """Return {id: item or null} for ?ids=1,2,3, in that order."""
    wanted = convert(request.args.get("ids", "").split(","), Ids, strict=False)
    if request.args.get("source") == "database":
        with sessions() as session:
            rows = session.scalars(select(InventoryRow).where(InventoryRow.id.in_(wanted)))
            return as_json(dict.fromkeys(wanted) | {row.id: row.item() for row in rows})
    return as_json(inventory.get_many(wanted, fill=True))


@app.put(ITEM)
def change_item(item_id: int) -> Response:
    """Change an item. Readers of the cache see the change milliseconds after the commit."""
    change = json.decode(request.get_data(), type=Change)
    with sessions.begin() as session:
        row = session.get(InventoryRow, item_id) or not_found(item_id)
        row.quantity = change.quantity
    return as_json(row.item())


def as_json(answer: Any, headers: dict[str, str] | None = None, status: int = 200) -> Response:
    """Encode structs as a JSON response."""
    return Response(json.encode(answer), status, headers, mimetype="application/json")


def not_found(item_id: int) -> NoReturn:
    """Answer 404."""
    abort(as_json({"detail": f"there is no item {item_id}"}, status=404))


@app.errorhandler(DecodeError)
def bad_request(error: DecodeError) -> Response:
    """Answer 400 with the error in the ids or the body."""
    return as_json({"detail": str(error)}, status=400)


@app.errorhandler(CacheError)
@app.errorhandler(FillError)
@app.errorhandler(exc.OperationalError)
@app.errorhandler(exc.TimeoutError)  # no free connection
def unavailable(_error: Exception) -> Response:
    """Answer 503: the item is not cached, and the database is away."""
    answer = {"detail": "neither the cache nor the database can answer just now"}
    return as_json(answer, {"Retry-After": "1"}, status=503)
