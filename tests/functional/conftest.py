"""Databases, where `db` stands for PostgreSQL and SQLite in turn; readers of both kinds; an application with hooks."""

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker
from support.awaited import KINDS
from support.database import Database
from support.shelf import Shelf
from support.warehouse import CLASSES, TABLES, Base, Cache, Inventory

from rowcache_tasks.orm import refresh_on_commit


@pytest.fixture
def pg(postgres_url):
    database = Database(postgres_url)
    database.run("DROP SCHEMA public CASCADE", "DROP SCHEMA IF EXISTS app CASCADE", "CREATE SCHEMA public")
    yield database
    database.close()


@pytest.fixture
def sqlite(tmp_path):
    path = tmp_path / "a #1 ?.db"
    path.touch()
    database = Database(f"sqlite:///{str(path).replace('?', '%3F')}")
    yield database
    database.close()


@pytest.fixture(params=["pg", "sqlite"])
def db(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def session(db):
    """A session of the application's own, on the same database."""
    engine = create_engine(db.url)
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def shelf(postgres, postgres_url):
    """A table that is read through; besides its own rows it has 101 to 140."""
    shelf = Shelf(postgres, postgres_url)
    shelf.run("INSERT INTO inv SELECT n, 'n', 0 FROM generate_series(101, 140) n")
    yield shelf
    shelf.close()


@pytest.fixture(params=KINDS)
def kind(request):
    """The kind of the reader: each test is for both."""
    return request.param


@pytest.fixture
def open_cache(kind, valkey, client):
    """Make readers, which end with the test."""
    opened = []

    def make(**options):
        options = {"url": valkey.url_for(9), "timeout": 20} | options
        opened.append(KINDS[kind]("inv", **options))
        return opened[-1]

    yield make
    for cache in opened:
        cache.end()


@pytest.fixture(scope="module")
def warehouse(postgres_url):
    """The engine of an application, whose tables are there."""
    engine = create_engine(postgres_url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def maker(warehouse):
    """A maker of sessions on empty tables; items 1 to 3 are there."""
    maker = sessionmaker(warehouse)
    with maker.begin() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
        session.add_all([Inventory(id=n) for n in (1, 2, 3)])
    return maker


@pytest.fixture
def cache(client):
    """What is scheduled for later, items 1 to 9 at first; shows what was touched."""
    cache = Cache(client)
    cache.schedule("inv", *map(str, range(1, 10)))
    return cache


@pytest.fixture
def listen(valkey):
    """Make hooks that are removed at the end."""
    hooks = []

    def listen(target, classes=CLASSES, **options):
        given = {"url": valkey.url_for(9), "tables": TABLES, "timeout": 60} | options
        hooks.append(refresh_on_commit(target, classes, **given))
        return hooks[-1]

    yield listen
    for hook in hooks:
        hook.remove()
