"""What readers get, and how soon, while the database is away or hangs; and no herd afterwards."""

import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from proof.chaos.proxy import Proxy
from support.concurrent_readers import read_concurrently
from support.reader_kind import READER_KINDS
from support.socket_link import link_postgres_socket
from support.waiting import wait_until

from rowcache_tasks import FillError, ReadThrough

ONE = {"id": 1, "name": "one", "share": 1.0}
CONCURRENCY = 3
MANY = [str(n) for n in range(101, 141)]


@pytest.fixture
def postgres_link(inv_table):
    link, link.url = link_postgres_socket(inv_table.url)

    def leave():
        link.cut()
        inv_table.run(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    link.leave = leave
    yield link
    link.remove()


@pytest.fixture
def link(inv_table):
    """A connection to PostgreSQL that can hang."""
    parts = urlsplit(inv_table.url)
    proxy = Proxy("test", parse_qs(parts.query)["host"][0] + "/.s.PGSQL.5432")
    proxy.start()
    proxy.url = f"postgresql+psycopg://postgres@127.0.0.1:{proxy.port}{parts.path}"
    yield proxy
    proxy.stop()


def refusal(ask):
    """Return the text of the FillError that a call raises; empty when it does not."""
    try:
        ask()
    except FillError as error:
        return str(error)
    return ""


def test_database_that_is_down_is_an_error_at_once_and_cached_rows_are_served(
    open_reader, inv_table, postgres_link, client
):
    cache = open_reader(read_through=ReadThrough(database_url=postgres_link.url, timeout=20))
    assert cache.get("1", fill=True) == ONE
    postgres_link.leave()
    started = time.monotonic()
    for row_id in MANY[:10]:
        with pytest.raises(FillError, match=r"^1 row\(s\) of inv: "):
            cache.get(row_id, fill=True)
    assert time.monotonic() - started < 15, "not one time-out for 10 rows"
    wait_until(
        lambda: "the database was down less than a second ago" in refusal(lambda: cache.get(MANY[11], fill=True)),
        "it is not asked again at once",
    )
    assert cache.get("1", fill=True) == ONE
    postgres_link.restore()
    wait_until(lambda: not refusal(lambda: cache.get(MANY[0], fill=True)), "the row is read again")


def test_callers_of_one_row_share_the_error_of_the_one_who_reads(reader_kind, valkey, client, inv_table, postgres_link):
    options = {"url": valkey.url_for(9), "timeout": 20}
    options["read_through"] = ReadThrough(database_url=postgres_link.url, timeout=20)
    postgres_link.leave()
    client.config_resetstat()
    answers = read_concurrently(reader_kind, options, ["1"] * 100, fill=True)
    assert {answer.partition(":")[0] for answer in answers} == {"FillError"}
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] < 50, "not each of them asked Redis"
    postgres_link.restore()
    assert inv_table.reads() == 0


def test_no_herd_meets_the_database_when_it_comes_back(reader_kind, valkey, client, inv_table, postgres_link):
    read_through = ReadThrough(database_url=postgres_link.url, timeout=20, concurrency=CONCURRENCY)
    options = {"url": valkey.url_for(9), "timeout": 20, "read_through": read_through}
    postgres_link.leave()
    assert "FillError" in read_concurrently(reader_kind, options, ["1"], fill=True)[0]
    postgres_link.restore()
    client.flushdb()
    most = 0
    with ThreadPoolExecutor() as background:
        with inv_table.locked():
            asking = background.submit(read_concurrently, reader_kind, options, MANY, fill=True)
            wait_until(lambda: inv_table.waiting() == CONCURRENCY, "as many read as may")
            for _ in range(5):
                most = max(most, inv_table.waiting())
        answers = asking.result(60)
    assert most == CONCURRENCY
    assert [row["id"] for row in answers] == list(map(int, MANY))
    assert inv_table.reads() == len(MANY)


def test_database_that_hangs_is_an_error_within_little_more_than_the_time_out(open_reader, inv_table, link):
    cache = open_reader(read_through=ReadThrough(database_url=link.url, timeout=1))
    assert cache.get("1", fill=True) == ONE
    link.hang()
    started = time.monotonic()
    with pytest.raises(FillError, match=r"not read within 1\.25 s: the database hangs"):
        cache.get("2", fill=True)
    assert time.monotonic() - started < 20, "1.25 s, on a machine that has time"
    link.release()
    wait_until(lambda: not refusal(lambda: cache.get("2", fill=True)), "the row is read again")


def test_database_that_is_too_slow_is_an_error(open_reader, inv_table):
    cache = open_reader(read_through=ReadThrough(database_url=inv_table.url, timeout=0.5))
    assert cache.get("1", fill=True) == ONE
    with inv_table.locked(), pytest.raises(FillError):
        cache.get("2", fill=True)
    wait_until(lambda: not refusal(lambda: cache.get("2", fill=True)), "the row is read again")


def test_table_that_does_not_exist_harms_no_other_table(reader_kind, open_reader, valkey, inv_table):
    read_through = ReadThrough(database_url=inv_table.url, timeout=20)
    wrong = READER_KINDS[reader_kind](
        "nope", url=valkey.url_for(9), namespace="nope", timeout=20, read_through=read_through
    )
    for row_id in MANY[:5]:
        with pytest.raises(FillError, match="nope"):
            wrong.get(row_id, fill=True)
    assert open_reader(read_through=read_through).get("1", fill=True) == ONE
    wrong.end()
