"""Fixtures of every level: real servers on private sockets, each started by the first test that uses it."""

import gc
import itertools
import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

from demo.servers import Postgres, Valkey
from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

names = itertools.count()

# Containers often turn bytecode off: each of the hundreds of processes that tests start would compile all its modules.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

gc.disable()  # until all is collected: each collection would look at all tests, fixtures and modules, which stay

# By default an example that takes over 200 ms fails, as it may on a busy machine.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


SLOWEST = [
    "proof/test_interleavings.py",
    "acceptance/test_main_job.py",
    "acceptance/test_start.py",
    "acceptance/test_security_",
    "acceptance/",
    "proof/",
    "functional/demo/",
    "functional/reader/",
    "functional/",
]
"""Parts of paths; tests run in this order, so that no long file is left for the end."""


def pytest_collection_modifyitems(items):
    def rank(item):
        path = item.path.as_posix()
        return next((place for place, words in enumerate(SLOWEST) if words in path), len(SLOWEST))

    items.sort(key=rank)


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.enable()


class FailureNames:
    """Prints the name and the error of each failed test at once, also under xdist, whose summary comes at the end."""

    def __init__(self, terminal):
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report):
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message.splitlines()[0][:200] if crash and crash.message else ""
            self._terminal.ensure_newline()
            self._terminal.write_line(f"FAILED {report.nodeid} ({report.when}) {message}", red=True)


def pytest_sessionstart(session):
    # A shell starts background jobs with SIGINT ignored, which every process of a test would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    plugins = session.config.pluginmanager
    if (terminal := plugins.getplugin("terminalreporter")) and not plugins.hasplugin("failure_names"):
        plugins.register(FailureNames(terminal), "failure_names")


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


@pytest.fixture(scope="session", autouse=True)
def postgres_template(tmp_path_factory):
    """Cluster that servers of PostgreSQL are copied from: initdb takes a second."""
    folder = tmp_path_factory.getbasetemp()
    is_one_of_many = "PYTEST_XDIST_WORKER" in os.environ  # which share the parent
    Postgres.template = (folder.parent if is_one_of_many else folder) / "postgres-template"


@pytest.fixture(scope="session")
def postgres():
    """PostgreSQL server."""
    with Postgres(args=("-c", "max_prepared_transactions=4")) as server:
        yield server


@pytest.fixture(scope="module")
def postgres_url(postgres):
    """SQLAlchemy URL of a PostgreSQL database, shared by the tests of a module."""
    return postgres.create_database(f"test_{next(names)}")
