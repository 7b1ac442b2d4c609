"""Pytest plugin: the fixture `rowcache`, a cache without a worker."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from rowcache_tasks.config.source import REDIS_URL, override
from rowcache_tasks.errors import RowCacheError
from rowcache_tasks.testing.server import OPTION, OwnDatabase, Valkey, check_taken, choose_server, database_after

if TYPE_CHECKING:
    from rowcache_tasks.testing.cache import EagerCache

SERVER: "pytest.StashKey[Valkey | OwnDatabase]" = pytest.StashKey()
ENVIRONMENT: pytest.StashKey[pytest.MonkeyPatch] = pytest.StashKey()
PREVIOUS: "pytest.StashKey[Mapping[str, Any]]" = pytest.StashKey()

WORKER = "PYTEST_XDIST_WORKER"  # name of the worker, in its environment: gw0 and so on


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the ini file."""
    parser.addini(
        OPTION,
        f'Redis of the fixture rowcache: "embedded", or the URL of an empty database; {OPTION.upper()} replaces it',
        default="",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Set the URL of Redis before any module of the application is imported: it may make a reader at once."""
    if chosen := os.environ.get(OPTION.upper()) or early_config.getini(OPTION):
        try:
            server = choose_server(chosen)
        except RowCacheError as error:
            raise pytest.UsageError(str(error)) from None
        early_config.stash[SERVER] = server
        early_config.stash[ENVIRONMENT] = pytest.MonkeyPatch()
        early_config.stash[PREVIOUS] = override({REDIS_URL: url_of(server)})


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the server, or take the databases, for this process or for all workers of pytest-xdist."""
    stash, workers = session.config.stash, session.config.getoption("tx", None)
    if SERVER not in stash:
        return
    server = stash[SERVER]
    try:
        if isinstance(server, OwnDatabase):
            if WORKER not in os.environ:
                server.start(len(workers or "1"))
            return
        server.start()
        if workers:  # which inherit the address, and share the server
            OwnDatabase(server.url).start(len(workers))
            stash[ENVIRONMENT].setenv(OPTION.upper(), server.url)
    except RowCacheError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server; leave databases of the user empty."""
    if SERVER in config.stash:
        config.stash[SERVER].stop()
        config.stash[ENVIRONMENT].undo()
        override(config.stash[PREVIOUS])


def url_of(server: "Valkey | OwnDatabase") -> str:
    """Return the address of this process; that of worker n of pytest-xdist is n databases after the first."""
    return database_after(server.url, int(re.sub("[^0-9]", "", os.environ.get(WORKER, "")) or 0))


@pytest.fixture
def rowcache_settings() -> dict[str, Any]:
    """Return settings that come before those of the application; override this fixture to return some `rowcache_*`."""
    return {}


@pytest.fixture
def rowcache(request: pytest.FixtureRequest, rowcache_settings: dict[str, Any]) -> "Iterator[EagerCache]":
    """Empty cache on a real server: tasks of rowcache_tasks run in their caller, `refresh()` refreshes due rows."""
    if SERVER not in request.config.stash:
        pytest.fail(
            f'rowcache: {OPTION} is not set: add {OPTION} = "embedded" to the ini file of pytest, or the URL of an '
            "empty database",
            pytrace=False,
        )
    server = request.config.stash[SERVER]
    with ExitStack() as stack:
        try:
            from rowcache_tasks.testing.cache import open_cache  # noqa: PLC0415 Celery and SQLAlchemy

            url = url_of(server)
            if isinstance(server, OwnDatabase):
                check_taken(url)
            cache = stack.enter_context(open_cache(url, rowcache_settings))
        except RowCacheError as error:
            pytest.fail(f"rowcache: {error}", pytrace=False)
        yield cache
