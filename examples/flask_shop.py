"""Web service for the items of a shop: an application factory of Flask in threads, RowCache, SQLAlchemy.

README.md has the commands that start it.
"""

import os
from dataclasses import dataclass
from typing import Annotated, NoReturn

from flask import Blueprint, Flask, Response, abort, current_app, g, request
from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import create_engine, exc, select
from sqlalchemy.orm import Session, sessionmaker

from examples.inventory import Change, InventoryRow, Item
from rowcache_tasks import CacheError, FillError, ReadThrough, RowCache
from rowcache_tasks.orm import refresh_on_commit

Ids = TypeAdapter(Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(max_length=100)])
Items = TypeAdapter(dict[int, Item | None])
ITEM = "/items/<int(max=9223372036854775807):item_id>"
items = Blueprint("items", __name__)


@dataclass
class Shop:
    """Extension of the application: its database and its cache."""

    sessions: sessionmaker[Session]
    inventory: RowCache[Item]


def create_app() -> Flask:
    """Return the application."""
    app = Flask(__name__)
    sessions = sessionmaker(create_engine(os.environ["SHOP_DATABASE_URL"], pool_size=16), expire_on_commit=False)
    refresh_on_commit(sessions, {InventoryRow: "inv"})  # refreshes the items that these sessions change
    # An item without a schedule is read from the database once and cached for a minute: docs/reading.md.
    inventory = RowCache("inv", type=Item, read_through=ReadThrough(when_redis_is_down=True))
    app.extensions["shop"] = Shop(sessions, inventory)
    app.register_blueprint(items)
    app.teardown_appcontext(close_session)
    return app


def shop() -> Shop:
    """Return the extension of the application that answers."""
    return current_app.extensions["shop"]


def session() -> Session:
    """Return the session of this request, opened by the first call."""
    if "session" not in g:
        g.session = shop().sessions()
    return g.session


def close_session(_error: BaseException | None) -> None:
    """Close the session of a request."""
    if "session" in g:
        g.session.close()


@items.get(ITEM)
def read_item(item_id: int) -> Response:
    """Return one item from the cache; with ?source=database from the database."""
    if request.args.get("source") == "database":
        return as_json(Item.model_validate(session().get(InventoryRow, item_id) or not_found(item_id)))
    cached = shop().inventory.get_with_age(item_id, fill=True) or not_found(item_id)
    # None: another program wrote the value.
    return as_json(cached.row, {} if cached.age is None else {"Age": str(int(cached.age))})


@items.get("/items")
def read_items() -> Response:
    """Return {id: item or null} for ?ids=1,2,3, in that order."""
    wanted = Ids.validate_python(request.args.get("ids", "").split(","))
    if request.args.get("source") == "database":
        rows = session().scalars(select(InventoryRow).where(InventoryRow.id.in_(wanted)))
        found = dict.fromkeys(wanted) | {row.id: Item.model_validate(row) for row in rows}
    else:
        found = shop().inventory.get_many(wanted, fill=True)
    return Response(Items.dump_json(found), mimetype="application/json")


@items.put(ITEM)
def change_item(item_id: int) -> Response:
    """Change an item. Readers of the cache see the change milliseconds after the commit."""
    change = Change.model_validate_json(request.get_data())
    row = session().get(InventoryRow, item_id) or not_found(item_id)
    row.quantity = change.quantity
    session().commit()
    return as_json(Item.model_validate(row))


def as_json(item: Item, headers: dict[str, str] | None = None) -> Response:
    """Encode an item as a JSON response."""
    return Response(item.model_dump_json(), headers=headers, mimetype="application/json")


def not_found(item_id: int) -> NoReturn:
    """Answer 404."""
    response = current_app.json.response({"detail": f"there is no item {item_id}"})
    response.status_code = 404
    abort(response)


@items.errorhandler(ValidationError)
def bad_request(error: ValidationError) -> Response:
    """Answer 422 with the errors in the ids or the body."""
    return Response(error.json(include_url=False), 422, mimetype="application/json")


@items.errorhandler(CacheError)
@items.errorhandler(FillError)
@items.errorhandler(exc.OperationalError)
@items.errorhandler(exc.TimeoutError)  # no free connection
def unavailable(_error: Exception) -> tuple[dict[str, str], int, dict[str, str]]:
    """Answer 503: the item is not cached, and the database is away."""
    return {"detail": "neither the cache nor the database can answer just now"}, 503, {"Retry-After": "1"}
