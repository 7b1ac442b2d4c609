"""Fixtures of every level: real servers on private sockets, each started by the first test that uses it."""

import itertools

import pytest
from hypothesis import HealthCheck, settings

from rowcache_tasks.config.settings import Table
from rowcache_tasks.demo.servers import Postgres, Valkey
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

names = itertools.count()

# By default an example that takes over 200 ms fails, as it may on a busy machine.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def valkey():
    """Valkey server."""
    with Valkey() as server:
        yield server


@pytest.fixture
def client(valkey):
    """redis-py client of database 9 of `valkey`, empty at the start of the test."""
    client = connect(valkey.url_for(9), "test")
    client.flushdb()
    yield client
    client.close()


@pytest.fixture
def schedule(client):
    """Schedule of the table `inv`, with the keys of the book."""
    return Schedule(client, Table("inv", "inventory"))


@pytest.fixture(scope="session")
def postgres():
    """PostgreSQL server."""
    with Postgres(args=("-c", "max_prepared_transactions=4")) as server:
        yield server


@pytest.fixture(scope="module")
def postgres_url(postgres):
    """SQLAlchemy URL of a PostgreSQL database, shared by the tests of a module."""
    return postgres.create_database(f"test_{next(names)}")
