"""Real servers for the tests, each started once when the first test asks for it, on private sockets."""

import itertools

import pytest
from hypothesis import HealthCheck, settings

from rowcache_tasks.config.settings import Table
from rowcache_tasks.demo.servers import Postgres, Valkey
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

names = itertools.count()

# A machine that does other things is slow, which is no failure: by default an example that takes 200 ms is one.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def valkey():
    with Valkey() as server:
        yield server


@pytest.fixture
def client(valkey):
    """A client of the test server; the database that it uses is empty at the start of each test."""
    client = connect(valkey.url_for(9), "test")
    client.flushdb()
    yield client
    client.close()


@pytest.fixture
def schedule(client):
    """The schedule of a table on the keys of the book."""
    return Schedule(client, Table("inv", "inventory"))


@pytest.fixture(scope="session")
def postgres():
    with Postgres(args=("-c", "max_prepared_transactions=4")) as server:
        yield server


@pytest.fixture(scope="module")
def postgres_url(postgres):
    """The SQLAlchemy URL of a database that the tests of one module share."""
    return postgres.create_database(f"test_{next(names)}")
