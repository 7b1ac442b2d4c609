"""What readers get, and how soon, while the database is away or hangs; and no herd afterwards."""

import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from proof.chaos.proxy import Proxy
from support.awaited import KINDS
from support.crowd import ask_together
from support.deployment import wait_until
from support.shelf import database_door

from rowcache_tasks import FillError, ReadThrough

ONE = {"id": 1, "name": "one", "share": 1.0}
CONCURRENCY = 3
MANY = [str(n) for n in range(101, 141)]


@pytest.fixture
def postgres_door(shelf):
    door, door.url = database_door(shelf.url)

    def leave():
        door.shut()
        shelf.run(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    door.leave = leave
    yield door
    door.remove()


@pytest.fixture
def link(shelf):
    """A connection to PostgreSQL that can hang."""
    parts = urlsplit(shelf.url)
    proxy = Proxy("test", parse_qs(parts.query)["host"][0] + "/.s.PGSQL.5432")
    proxy.start()
    proxy.url = f"postgresql+psycopg://postgres@127.0.0.1:{proxy.port}{parts.path}"
    yield proxy
    proxy.stop()


def refusal(ask):
    """Give the text of the FillError that a call raises; empty when it does not."""
    try:
        ask()
    except FillError as error:
        return str(error)
    return ""


def test_database_that_is_down_is_an_error_at_once_and_cached_rows_are_served(open_cache, shelf, postgres_door, client):
    cache = open_cache(read_through=ReadThrough(database_url=postgres_door.url, timeout=20))
    assert cache.get("1", fill=True) == ONE
    postgres_door.leave()
    started = time.monotonic()
    for row_id in MANY[:10]:
        with pytest.raises(FillError, match=r"^1 row\(s\) of inv: "):
            cache.get(row_id, fill=True)
    assert time.monotonic() - started < 15, "not one time-out for 10 rows"
    assert "the database was down less than a second ago" in refusal(lambda: cache.get(MANY[11], fill=True))
    assert cache.get("1", fill=True) == ONE
    postgres_door.open()
    wait_until(lambda: not refusal(lambda: cache.get(MANY[0], fill=True)), "the row is read again")


def test_callers_of_one_row_share_the_error_of_the_one_who_reads(kind, valkey, client, shelf, postgres_door):
    options = {"url": valkey.url_for(9), "timeout": 20}
    options["read_through"] = ReadThrough(database_url=postgres_door.url, timeout=20)
    postgres_door.leave()
    client.config_resetstat()
    answers = ask_together(kind, options, ["1"] * 100, fill=True)
    assert {answer.partition(":")[0] for answer in answers} == {"FillError"}
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] < 50, "not each of them asked Redis"
    postgres_door.open()
    assert shelf.reads() == 0


def test_no_herd_meets_the_database_when_it_comes_back(kind, valkey, client, shelf, postgres_door):
    read_through = ReadThrough(database_url=postgres_door.url, timeout=20, concurrency=CONCURRENCY)
    options = {"url": valkey.url_for(9), "timeout": 20, "read_through": read_through}
    postgres_door.leave()
    assert "FillError" in ask_together(kind, options, ["1"], fill=True)[0]
    postgres_door.open()
    client.flushdb()
    most = 0
    with ThreadPoolExecutor() as background:
        with shelf.locked():
            asking = background.submit(ask_together, kind, options, MANY, fill=True)
            wait_until(lambda: shelf.waiting() == CONCURRENCY, "as many read as may")
            for _ in range(5):
                most = max(most, shelf.waiting())
        answers = asking.result(60)
    assert most == CONCURRENCY
    assert [row["id"] for row in answers] == list(map(int, MANY))
    assert shelf.reads() == len(MANY)


def test_database_that_hangs_is_an_error_within_little_more_than_the_time_out(open_cache, shelf, link):
    cache = open_cache(read_through=ReadThrough(database_url=link.url, timeout=1))
    assert cache.get("1", fill=True) == ONE
    link.hang()
    started = time.monotonic()
    with pytest.raises(FillError, match=r"not read within 1\.25 s: the database hangs"):
        cache.get("2", fill=True)
    assert time.monotonic() - started < 20, "1.25 s, on a machine that has time"
    link.release()
    wait_until(lambda: not refusal(lambda: cache.get("2", fill=True)), "the row is read again")


def test_database_that_is_too_slow_is_an_error(open_cache, shelf):
    cache = open_cache(read_through=ReadThrough(database_url=shelf.url, timeout=0.5))
    assert cache.get("1", fill=True) == ONE
    with shelf.locked(), pytest.raises(FillError):
        cache.get("2", fill=True)
    wait_until(lambda: not refusal(lambda: cache.get("2", fill=True)), "the row is read again")


def test_table_that_does_not_exist_harms_no_other_table(kind, open_cache, valkey, shelf):
    read_through = ReadThrough(database_url=shelf.url, timeout=20)
    wrong = KINDS[kind]("nope", url=valkey.url_for(9), namespace="nope", timeout=20, read_through=read_through)
    for row_id in MANY[:5]:
        with pytest.raises(FillError, match="nope"):
            wrong.get(row_id, fill=True)
    assert open_cache(read_through=read_through).get("1", fill=True) == ONE
    wrong.end()
