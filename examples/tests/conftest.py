"""Database of the tests of the services: SHOP_TEST_DATABASE_URL, whose table inventory they make and drop."""

import os
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from examples.inventory import Base, InventoryRow


@pytest.fixture
def database_url(monkeypatch):
    """URL of a database with items 1 and 2, five of each."""
    url = os.environ["SHOP_TEST_DATABASE_URL"]
    monkeypatch.setenv("SHOP_DATABASE_URL", url)
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        rows = [
            {"id": n, "name": f"item {n}", "quantity": 5, "price": 1, "updated_at": datetime.now(UTC)} for n in (1, 2)
        ]
        session.add_all(InventoryRow(**row) for row in rows)
    yield url
    Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def rowcache_settings(database_url):
    """Settings of the fixture rowcache."""
    return {"rowcache_database_url": database_url, "rowcache_tables": {"inv": {"table": "inventory"}}}
