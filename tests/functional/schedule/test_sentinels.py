"""Sentinels that hang, and the connections that they see."""

import time

import pytest
import redis
from support.listener import Listener
from support.reader_kind import READER_KINDS
from support.sentinels import Sentinels

from rowcache_tasks import CacheError, Refresher

TABLES = {"inv": {"table": "inventory"}}
TIMEOUT_S = 3


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory):
    with Sentinels(tmp_path_factory.mktemp("sentinels")) as sentinels:
        yield sentinels


@pytest.fixture
def hung_url():
    """URL of seven Sentinels that accept connections and never answer."""
    callers = []
    with Listener(callers.append) as listener:
        yield f"redis+sentinel://{','.join([f'127.0.0.1:{listener.port}'] * 7)}/mymaster/0"
    for caller in callers:
        caller.close()


def open_all(url, timeout):
    """Return name -> a call of each kind of client."""
    readers = {name: kind("inv", url=url, namespace="", timeout=timeout) for name, kind in READER_KINDS.items()}
    refresher = Refresher(url=url, tables=TABLES, timeout=timeout)
    calls = {name: lambda reader=reader: reader.get("1") for name, reader in readers.items()}
    return calls | {"refresher": lambda: refresher.refresh_now("inv", ["1"])}


def test_sentinels_that_hang_are_an_error_within_the_time_out(hung_url):
    for name, call in open_all(hung_url, TIMEOUT_S).items():
        started = time.monotonic()
        with pytest.raises(CacheError, match="No master found for 'mymaster': its Sentinels are away"):
            call()
        assert time.monotonic() - started < TIMEOUT_S, name


def test_no_connection_to_a_sentinel_is_kept(sentinels):
    calls = open_all(sentinels.url(), 10)
    assert {name: call() for name, call in calls.items()} == {"threads": None, "asyncio": None, "refresher": 0}
    for port in sentinels.ports:
        with redis.Redis(port=port) as client:
            callers = [caller for caller in client.client_list() if not caller["name"].startswith("sentinel-")]
            assert len(callers) == 1, f"only that of the test: {callers}"
