"""Databases for the tests of the reading side: `db` stands for PostgreSQL and SQLite in turn."""

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from .database import Database


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
