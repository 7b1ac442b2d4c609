"""Web service for the items of a shop: FastAPI with lifespan and dependencies, AsyncRowCache, SQLAlchemy with asyncio.

README.md has the commands that start it.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal, NoReturn, TypedDict

from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import exc, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from examples.inventory import Change, InventoryRow, Item
from rowcache_tasks import AsyncRowCache, CacheError, FillError, ReadThrough
from rowcache_tasks.orm import refresh_on_commit


class State(TypedDict):
    """State of the application, which each request has."""

    sessions: async_sessionmaker[AsyncSession]
    inventory: AsyncRowCache[Item]


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
    """Open the database and the cache at the start of the service, and close both at its end."""
    engine = create_async_engine(os.environ["SHOP_DATABASE_URL"], pool_size=16)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    hook = refresh_on_commit(sessions, {InventoryRow: "inv"})  # refreshes the items that these sessions change
    # An item without a schedule is read from the database once and cached for a minute: docs/reading.md.
    read_through = ReadThrough(when_redis_is_down=True)
    async with AsyncRowCache("inv", type=Item, read_through=read_through) as inventory:
        yield {"sessions": sessions, "inventory": inventory}
    hook.remove()
    await engine.dispose()


async def get_sessions(request: Request) -> async_sessionmaker[AsyncSession]:
    """Return the sessions of the database."""
    return request.state.sessions


async def get_inventory(request: Request) -> AsyncRowCache[Item]:
    """Return the cache of the items."""
    return request.state.inventory


Sessions = Annotated[async_sessionmaker[AsyncSession], Depends(get_sessions)]
Inventory = Annotated[AsyncRowCache[Item], Depends(get_inventory)]
ItemId = Annotated[int, Path(ge=0, lt=2**63)]
Ids = Annotated[str, Query(pattern=r"^\d{1,18}(,\d{1,18}){0,99}$")]
Source = Literal["cache", "database"]


async def unavailable(_request: Request, _error: Exception) -> JSONResponse:
    """Answer 503: the item is not cached, and the database is away."""
    return JSONResponse({"detail": "neither the cache nor the database can answer just now"}, 503, {"Retry-After": "1"})


UNAVAILABLE = (CacheError, FillError, exc.OperationalError, exc.TimeoutError)  # TimeoutError: no free connection
app = FastAPI(lifespan=lifespan, exception_handlers=dict.fromkeys(UNAVAILABLE, unavailable))


@app.get("/items/{item_id}")
async def read_item(
    item_id: ItemId, response: Response, inventory: Inventory, sessions: Sessions, source: Source = "cache"
) -> Item:
    """Return one item from the cache; with ?source=database from the database."""
    if source == "database":
        async with sessions() as session:
            return Item.model_validate(await session.get(InventoryRow, item_id) or not_found(item_id))
    cached = await inventory.get_with_age(item_id, fill=True) or not_found(item_id)
    if cached.age is not None:  # None: another program wrote the value
        response.headers["Age"] = str(int(cached.age))
    return cached.row


@app.get("/items")
async def read_items(
    ids: Ids, inventory: Inventory, sessions: Sessions, source: Source = "cache"
) -> dict[int, Item | None]:
    """Return {id: item or null} for ?ids=1,2,3, in that order."""
    wanted = [int(item_id) for item_id in ids.split(",")]
    if source == "database":
        async with sessions() as session:
            rows = await session.scalars(select(InventoryRow).where(InventoryRow.id.in_(wanted)))
            return dict.fromkeys(wanted) | {row.id: Item.model_validate(row) for row in rows}
    return await inventory.get_many(wanted, fill=True)


@app.put("/items/{item_id}")
async def change_item(item_id: ItemId, change: Change, sessions: Sessions) -> Item:
    """Change an item. Readers of the cache see the change milliseconds after the commit."""
    async with sessions.begin() as session:
        row = await session.get(InventoryRow, item_id) or not_found(item_id)
        row.quantity = change.quantity
    return Item.model_validate(row)


def not_found(item_id: int) -> NoReturn:
    """Answer 404."""
    raise HTTPException(404, f"there is no item {item_id}")
