"""Web service for the items of a shop: FastAPI, AsyncRowCache, SQLAlchemy with asyncio.

README.md has the commands that start it.
"""

import os
from dataclasses import dataclass
from typing import Annotated, Literal, NoReturn

from fastapi import FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy import exc, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from examples.inventory import InventoryRow, Item
from rowcache_tasks import AsyncRowCache, CacheError, FillError, ReadThrough
from rowcache_tasks.orm import refresh_on_commit


@dataclass
class Change:
    """Body of a PUT request."""

    quantity: Annotated[int, Field(ge=0, lt=2**31)]


UNAVAILABLE = (CacheError, FillError, exc.OperationalError, exc.TimeoutError)  # TimeoutError: no free connection


async def unavailable(_request: Request, _error: Exception) -> JSONResponse:
    """Answer 503: the item is not cached, and the database is away."""
    return JSONResponse({"detail": "neither the cache nor the database can answer just now"}, 503, {"Retry-After": "1"})


app = FastAPI(exception_handlers=dict.fromkeys(UNAVAILABLE, unavailable))
engine = create_async_engine(os.environ["SHOP_DATABASE_URL"], pool_size=16)
sessions = async_sessionmaker(engine, expire_on_commit=False)
# An item without a schedule is read from the database once and cached for a minute: docs/reading.md.
inventory = AsyncRowCache("inv", type=Item, read_through=ReadThrough(when_redis_is_down=True))
refresh_on_commit(sessions, {InventoryRow: "inv"})  # refreshes the items that these sessions change

ItemId = Annotated[int, Path(ge=0, lt=2**63)]
Ids = Annotated[str, Query(pattern=r"^\d{1,18}(,\d{1,18}){0,99}$")]
Source = Literal["cache", "database"]


@app.get("/items/{item_id}")
async def read_item(item_id: ItemId, response: Response, source: Source = "cache") -> Item:
    """Return one item from the cache; with ?source=database from the database."""
    if source == "database":
        async with sessions() as session:
            row = await session.get(InventoryRow, item_id) or not_found(item_id)
        return row.item()
    cached = await inventory.get_with_age(item_id, fill=True) or not_found(item_id)
    if cached.age is not None:  # None: another program wrote the value
        response.headers["Age"] = str(int(cached.age))
    return cached.row


@app.get("/items")
async def read_items(ids: Ids, source: Source = "cache") -> dict[int, Item | None]:
    """Return {id: item or null} for ?ids=1,2,3, in that order."""
    wanted = [int(item_id) for item_id in ids.split(",")]
    if source == "database":
        async with sessions() as session:
            rows = await session.scalars(select(InventoryRow).where(InventoryRow.id.in_(wanted)))
            return dict.fromkeys(wanted) | {row.id: row.item() for row in rows}
    return await inventory.get_many(wanted, fill=True)


@app.put("/items/{item_id}")
async def change_item(item_id: ItemId, change: Change) -> Item:
    """Change an item. Readers of the cache see the change milliseconds after the commit."""
    async with sessions.begin() as session:
        row = await session.get(InventoryRow, item_id) or not_found(item_id)
        row.quantity = change.quantity
    return row.item()


def not_found(item_id: int) -> NoReturn:
    """Answer 404."""
    raise HTTPException(404, f"there is no item {item_id}")
