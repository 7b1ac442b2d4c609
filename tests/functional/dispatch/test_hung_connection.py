"""Connections on which nothing arrives any more, although nobody closed them."""

import time
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg
import pytest
from proof.chaos.proxy import Proxy
from support.waiting import wait_until

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database import outage
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.dispatch import wakeup
from rowcache_tasks.dispatch.wakeup import Wakeup
from rowcache_tasks.errors import SourceError
from rowcache_tasks.schedule.connection import connect


@pytest.fixture
def link():
    """Make a link to a Unix socket; cut at the end."""
    links = []

    def make(path):
        links.append(Proxy("test", path))
        links[-1].start()
        return links[-1]

    yield make
    for one in links:
        one.stop()


@pytest.fixture
def database(link, postgres_url):
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS inventory")
        connection.execute("CREATE TABLE inventory (id bigint PRIMARY KEY, name text)")
        connection.execute("INSERT INTO inventory VALUES (1, 'one')")
    return link(parse_qs(urlsplit(postgres_url).query)["host"][0] + "/.s.PGSQL.5432")


@pytest.fixture
def source(database, postgres_url):
    name = urlsplit(postgres_url).path
    engine = create_source_engine(
        f"postgresql+psycopg://postgres@127.0.0.1:{database.port}{name}?connect_timeout=2", statement_timeout_s=0.5
    )
    source = Source(engine, Table("inv", "inventory"))
    assert list(source.fetch(["1"]).rows) == ["1"]
    yield source
    engine.dispose()


def test_rows_are_read_on_a_new_connection_when_the_old_one_hangs(database, source):
    database.hang()
    database.release()
    started = time.monotonic()
    assert list(source.fetch(["1"]).rows) == ["1"]
    assert 2.5 <= time.monotonic() - started < 60, "the time-out of a statement and 2 s, not for ever"


def test_database_that_hangs_for_good_is_an_error(database, source, monkeypatch):
    monkeypatch.setattr(outage, "MAX_S", 0.0)  # it is tried again at once
    database.hang()
    with pytest.raises(SourceError):
        source.fetch(["1"])
    database.release()
    assert list(source.fetch(["1"]).rows) == ["1"]


def test_dispatcher_is_woken_again_after_its_connection_hung(link, valkey, client, monkeypatch):
    monkeypatch.setattr(wakeup, "BLOCK_S", 1)
    monkeypatch.setattr(wakeup, "SOCKET_TIMEOUT_S", 0.5)
    proxy = link(unquote(urlsplit(valkey.url).path))
    proxied = connect(f"redis://127.0.0.1:{proxy.port}/9", "test")
    waiting = Wakeup(proxied, ["wake:"])
    assert not waiting.wait(0.01)
    proxy.hang()
    proxy.release()
    # The first go to the dead connection.
    wait_until(lambda: client.rpush("wake:", "1") and waiting.wait(0.1), "the dispatcher is woken")
    waiting.close()
    proxied.close()
