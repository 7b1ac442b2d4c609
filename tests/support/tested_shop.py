"""Application of a user, and its tests with the fixture `rowcache`, for pytester."""

SETTINGS = """
import os

file = os.environ.get("PYTEST_XDIST_WORKER", "main") + ".db"
broker_url = "amqp://production.invalid"
rowcache_redis_url = "redis://production.invalid/0"
rowcache_database_url = f"sqlite:///{file}"
rowcache_tables = {"inv": {"table": "inventory"}}
"""

INSTALLATION = """
import celeryconfig
from celery import Celery
from rowcache_tasks import install

app = install(Celery("shop", config_source=celeryconfig))
"""

APPLICATION = """
from celeryconfig import rowcache_database_url
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from rowcache_tasks import AsyncRowCache, Refresher, RowCache
from rowcache_tasks.orm import refresh_on_commit

class Base(DeclarativeBase): ...

class Item(Base):
    __tablename__ = "inventory"
    id: Mapped[int] = mapped_column(primary_key=True)
    stock: Mapped[int]

engine = create_engine(rowcache_database_url)
Session = sessionmaker(engine)
inv = RowCache("inv")
async_inv = AsyncRowCache("inv")
refresher = Refresher()
refresh_on_commit(Session, {Item: "inv"})
"""

CONFTEST = """
import pytest
from pathlib import Path
from celeryconfig import file
from shop import Base, Item, Session, engine

@pytest.fixture(autouse=True)
def items():
    Base.metadata.create_all(engine)
    with Session.begin() as session:
        session.add_all([Item(id=n, stock=5) for n in (1, 2)])
    yield
    engine.dispose()
    Path(file).unlink()
"""

TESTS = """
import asyncio
import pytest
from rowcache_tasks.celery.application import active_app
from rowcache_tasks import FillError, RowCache, SourceError
from rowcache_tasks.tasks import drop_table, refresh_now, schedule_row, schedule_table, unschedule_row
from shop import Base, Item, Session, async_inv, engine, inv, refresher

def test_row_that_is_scheduled_and_sold(rowcache):
    schedule_row.delay("inv", 1, 10)
    assert inv.get(1) is None
    assert rowcache.refresh() == {"refreshed": 1}
    assert inv.get(1) == {"id": 1, "stock": 5}
    assert rowcache.refresh() == {}
    with Session.begin() as session:
        session.get(Item, 1).stock = 4
    assert rowcache.refresh() == {"refreshed": 1}
    assert inv.get(1) == {"id": 1, "stock": 4}
    assert rowcache.refresh_all() == {"unchanged": 1}

def test_cache_is_empty_and_every_part_uses_it(rowcache):
    assert rowcache.refresh_all() == {}
    assert inv.get(1) is None
    schedule_table.delay("inv", 60)
    assert rowcache.refresh_all("inv") == {"refreshed": 2}
    assert asyncio.run(async_inv.get(2)) == {"id": 2, "stock": 5}
    assert refresher.refresh_now("inv", [1]) == 1
    refresh_now.delay("inv", [2])
    assert rowcache.refresh() == {"unchanged": 2}
    drop_table.delay("inv")
    assert inv.get(1) is None
    schedule_row.delay("inv", 7, 60)
    assert rowcache.refresh() == {"missing": 1}

def test_chain_of_tasks(rowcache):
    (schedule_row.si("inv", 1, 10) | schedule_row.si("inv", 2, 10) | unschedule_row.si("inv", 1)).delay()
    assert rowcache.refresh() == {"refreshed": 1}
    assert inv.get(2) == {"id": 2, "stock": 5}

def test_database_without_the_table(rowcache):
    Base.metadata.drop_all(engine)
    schedule_row.delay("inv", 1, 10)
    with pytest.raises(SourceError, match="1 row.s. of inv could not be refreshed: 1: .*inventory"):
        rowcache.refresh()
    for _ in range(4):
        with pytest.raises(FillError):
            inv.get(1, fill=True)

def test_fill_after_that(rowcache):
    assert inv.get(1, fill=True) == {"id": 1, "stock": 5}

def test_task_always_eager_without_the_fixture():
    active_app().conf.task_always_eager = True
    assert schedule_table.delay("inv", 60).get() == {"applied": 2, "ignored": 0}
    active_app().conf.task_always_eager = False

class TestOtherSettings:
    @pytest.fixture
    def rowcache_settings(self):
        return {"rowcache_tables": {"other": {"table": "inventory", "columns": ["id"]}}}

    def test_are_those_of_the_fixture(self, rowcache):
        schedule_row.delay("other", 1, 10)
        assert rowcache.refresh() == {"refreshed": 1}
        assert RowCache("other").get(1) == {"id": 1}
"""
