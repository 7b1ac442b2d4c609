"""What readers get, and how soon, while Redis is away, hangs or is full: an error, or rows from the database."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, unquote, urlsplit

import pytest
import redis
import redis.asyncio
from proof.chaos.proxy import Proxy
from support.concurrent_readers import read_concurrently
from support.reader_kind import READER_KINDS
from support.socket_link import SocketLink
from support.waiting import wait_until

from rowcache_tasks import AsyncRowCache, CacheError, FillError, ReadThrough

ONE = {"id": 1, "name": "one", "share": 1.0}
CONCURRENCY = 3
MANY = [str(n) for n in range(101, 141)]


@pytest.fixture
def redis_link(valkey, client):
    """Link to Valkey; `leave` cuts it and closes the open connections as well."""
    path = unquote(urlsplit(valkey.url).path)
    directory, _, name = path.rpartition("/")
    link = SocketLink(directory)
    link.url = f"unix://{quote(str(link.path))}/{name}?db=9"

    def leave():
        link.cut()
        client.client_kill_filter(_type="normal", skipme=True)

    link.leave = leave
    yield link
    link.remove()


@pytest.fixture
def link(valkey):
    proxy = Proxy("test", unquote(urlsplit(valkey.url).path))
    proxy.start()
    proxy.url = f"redis://127.0.0.1:{proxy.port}/9"
    yield proxy
    proxy.stop()


def raised(ask):
    """Return the text of the CacheError that a call raises; empty when it does not."""
    try:
        ask()
    except CacheError as error:
        return str(error)
    return ""


def test_redis_that_is_down_is_an_error_at_once_and_then_without_io(open_reader, redis_link, caplog):
    caplog.set_level(logging.INFO, "rowcache_tasks")
    cache = open_reader(url=redis_link.url, timeout=20)
    assert cache.get("1") is None
    redis_link.leave()
    started = time.monotonic()
    wait_until(lambda: "was down less than a second ago" in raised(lambda: cache.get("1")), "the breaker opens")
    assert time.monotonic() - started < 15, "nobody waits for a server that is not there"
    redis_link.restore()
    wait_until(lambda: not raised(lambda: cache.get("1")), "Redis is read again")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, "one line for the outage and one for its end"
    assert said[0].startswith("inv: Redis does not answer, and is asked about once a second: ")
    assert said[1] == "inv: Redis answers again"


def test_redis_that_hangs_is_an_error_within_the_time_out(open_reader, link):
    cache = open_reader(url=link.url, timeout=1)
    assert cache.get("1") is None
    link.hang()
    asks = [lambda: cache.get("1"), lambda: cache.get_many(["1", "2"]), lambda: cache.get("1", fill=True)]
    for ask in asks:
        started = time.monotonic()
        assert "Redis does not answer: " in raised(ask)
        assert time.monotonic() - started < 20, "2 s, on a machine that has time"
    wait_until(lambda: "was down less than a second ago" in raised(lambda: cache.age("1")), "the breaker is open")
    link.release()
    wait_until(lambda: not raised(lambda: cache.get("1")), "Redis is read again")


def test_more_tasks_than_connections_get_an_error_while_redis_hangs(link, client):
    async def run():
        cache = AsyncRowCache("inv", url=link.url, timeout=1)
        started = time.monotonic()
        answers = await asyncio.gather(*(cache.get("1") for _ in range(200)), return_exceptions=True)
        took_s = time.monotonic() - started
        await cache.close()
        return answers, took_s

    link.hang()
    answers, took_s = asyncio.run(run())
    assert {type(answer) for answer in answers} == {CacheError}
    assert took_s < 20, "2 s, on a machine that has time"


def test_more_threads_than_connections_of_a_pool_read_all_the_same(reader_kind, valkey, client):
    client.set("inv:1", '{"id":1}')
    answers = read_concurrently(reader_kind, {"url": valkey.url_for(9), "timeout": 20}, ["1"] * 150)
    assert answers == [{"id": 1}] * 150


# Redis is away, and the database is to be read instead


@pytest.fixture
def falling_back(redis_link, inv_table):
    read_through = ReadThrough(database_url=inv_table.url, timeout=20, concurrency=CONCURRENCY, when_redis_is_down=True)
    return {"url": redis_link.url, "timeout": 20, "read_through": read_through}


def test_rows_come_from_the_database_while_redis_is_down(open_reader, falling_back, redis_link, client):
    cache = open_reader(**falling_back)
    assert cache.get("1") is None
    redis_link.leave()
    assert cache.get("1") == ONE
    assert cache.get("9") is None
    assert cache.get("1", max_age=1) == ONE
    assert cache.get("1", fill=True) == ONE
    assert cache.get_many(["1", "9"]) == {"1": ONE, "9": None}
    assert cache.get_with_age("1").row == ONE
    with pytest.raises(FillError, match="row '3' of inv cannot be filled"):
        cache.get("3")
    redis_link.restore()
    wait_until(lambda: not raised(lambda: cache.age("1")), "Redis is read again")
    assert cache.get("1") is None, "what is read meanwhile is not cached"


def count_waiting_threads():
    """Count the threads that stand still in the reader: they wait for what another one does."""
    stacks = [[frame.filename for frame in traceback.extract_stack(top)] for top in sys._current_frames().values()]
    return sum("/rowcache_tasks/reader/" in str(stack) and stack[-1].endswith("threading.py") for stack in stacks)


@pytest.mark.parametrize("wanted", [{}, {"fill": True}])
def test_callers_of_one_hot_row_cost_few_statements_while_redis_is_down(
    reader_kind, falling_back, redis_link, inv_table, wanted
):
    redis_link.leave()
    are_asking = threading.Event()
    with ThreadPoolExecutor() as background:
        with inv_table.locked():
            asking = background.submit(
                read_concurrently, reader_kind, falling_back, ["1"] * 100, are_asking.set, **wanted
            )
            assert are_asking.wait(60)
            wait_until(inv_table.waiting, "the row is read")
            wait_until(lambda: reader_kind == "asyncio" or count_waiting_threads() >= 99, "the others wait for it")
        assert asking.result(60) == [ONE] * 100
    # A second read serves who called after the first began; who wakes later, on a slow machine, reads anew.
    assert inv_table.reads() <= 50


def test_few_statements_run_at_a_time_while_redis_is_down(reader_kind, falling_back, redis_link, inv_table):
    redis_link.leave()
    with ThreadPoolExecutor() as background:
        with inv_table.locked():
            asking = background.submit(read_concurrently, reader_kind, falling_back, MANY)
            wait_until(lambda: inv_table.waiting() == CONCURRENCY, "as many read as may")
            assert max(inv_table.waiting() for _ in range(5)) == CONCURRENCY
        assert [row["id"] for row in asking.result(60)] == list(map(int, MANY))


# Redis is full


@pytest.fixture
def full(client):
    yield lambda: client.config_set("maxmemory", 1)
    client.config_set("maxmemory", 0)


def test_rows_are_read_and_none_is_filled_while_redis_is_full(open_reader, inv_table, client, full):
    read_through = ReadThrough(database_url=inv_table.url, timeout=20)
    cache = open_reader(read_through=read_through)
    assert cache.get("1", fill=True) == ONE
    full()
    assert cache.get("1") == cache.get("1", fill=True) == ONE
    with pytest.raises(CacheError, match=r"inv: Redis refuses: .*'maxmemory'"):
        cache.get("2", fill=True)
    assert inv_table.reads() == 1


def test_rows_come_from_the_database_while_redis_is_full_when_it_may_be_read(open_reader, inv_table, full):
    cache = open_reader(read_through=ReadThrough(database_url=inv_table.url, timeout=20, when_redis_is_down=True))
    full()
    assert cache.get("1", fill=True) == ONE


# The application's own client


@pytest.mark.parametrize("decodes", [False, True])
def test_client_of_the_application_fills(reader_kind, valkey, client, inv_table, decodes):
    library = redis if reader_kind == "threads" else redis.asyncio
    mine = library.Redis.from_url(valkey.url_for(9), decode_responses=decodes)
    cache = READER_KINDS[reader_kind](
        "inv", client=mine, namespace="", read_through=ReadThrough(database_url=inv_table.url, timeout=20)
    )
    inv_table.run("UPDATE inv SET name = 'żółć' WHERE id = 1")
    assert cache.get("9", fill=True) is None
    assert [cache.get("1", fill=True)["name"] for _ in range(2)] == ["żółć"] * 2
    with pytest.raises(FillError, match="row '3' of inv"):
        cache.get("3", fill=True)
    assert cache.get_many(["1", "9"], fill=True)["1"]["name"] == "żółć"
    assert cache.get_with_age("1", max_age=60).is_stale is False
    cache.end(mine)


def test_key_of_another_type_is_an_error_and_no_crash(open_reader, reader_kind, client):
    cache = open_reader()
    client.set("refreshed:", "nonsense")
    client.set("inv:1", "{}")
    for ask in (lambda: cache.age("1"), lambda: cache.get("1", max_age=1), lambda: cache.get("2", fill=True)):
        text = raised(ask)
        assert "Redis refuses: " in text
        # A pipeline of asyncio leaves the reason out before redis-py 8: "caused error: {exception.args}".
        assert "WRONGTYPE" in text or (reader_kind == "asyncio" and int(redis.__version__.split(".")[0]) < 8)
