"""RowCache and AsyncRowCache: the same tests for both."""

import asyncio
import copy
import logging
import os
import pickle
import threading
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

import msgspec
import pytest
import redis
import redis.asyncio
from pydantic import BaseModel
from support.reader_kind import READER_KINDS

from rowcache_tasks import (
    ArgumentError,
    AsyncRowCache,
    CachedRow,
    CacheError,
    ConfigError,
    FillError,
    ReadThrough,
    RowCache,
    RowCacheError,
    RowTypeError,
    row_id,
)
from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors.text import redact
from rowcache_tasks.schedule.rows import Schedule


@pytest.fixture(params=READER_KINDS)
def open_reader(request, valkey, client):
    """Make a cache of one kind or the other, closed after the test; of the test server unless told otherwise."""
    opened = []

    def make(table="inv", **options):
        if not options.keys() & {"url", "client"}:
            options["url"] = valkey.url_for(9)
        opened.append(READER_KINDS[request.param](table, **options))
        return opened[-1]

    make.kind = request.param
    yield make
    for cache in opened:
        cache.end()


@pytest.fixture
def inv(open_reader):
    return open_reader()


def commit(schedule, values):
    schedule.put_rows(dict.fromkeys(values, (100, 0)))
    schedule.commit_rows(schedule.claim_rows(1000, 30)[0], values)


def test_get_returns_the_row_as_a_dictionary(inv, schedule):
    commit(schedule, {"42": '{"id":42,"name":"żółć"}'.encode()})
    assert inv.get("42") == {"id": 42, "name": "żółć"}
    assert inv.get(42) == inv.get("42")


def test_row_id_that_is_not_utf8_is_read_with_its_escapes(inv, client):
    client.set(b"inv:\xff", b'{"id":1}')
    assert inv.get("\udcff") == {"id": 1}
    assert inv.age("\udcff") is None


def test_get_of_a_row_that_is_not_cached_is_none(inv):
    assert inv.get("42") is None
    assert inv.get_with_age("42") is None


def test_get_many_answers_in_the_order_asked_with_none_for_missing(inv, schedule):
    commit(schedule, {"1": b'{"id":1}', "2": b'{"id":2}'})
    assert list(inv.get_many(["2", "nope", "1"]).items()) == [("2", {"id": 2}), ("nope", None), ("1", {"id": 1})]
    assert list(inv.get_many(iter([2, "2", 2]))) == [2, "2"]
    assert inv.get_many([]) == inv.get_many([], fill=True) == {}


@pytest.mark.parametrize("options", [{}, {"max_age": 1e6}, {"near": 10_000}], ids=["", "aged", "near"])
def test_get_many_of_thousands_reads_pieces_that_do_not_hold_the_server(open_reader, client, schedule, options):
    reading = {name: options[name] for name in options.keys() & {"max_age"}}
    inv = open_reader(**{name: options[name] for name in options.keys() - {"max_age"}})
    commit(schedule, {"7": b'{"id":7}', "1203": b'{"id":1203}'})
    assert inv.get_many(range(3), **reading) == dict.fromkeys(range(3))
    client.config_resetstat()
    found = inv.get_many(range(1204), **reading)
    assert [row_id for row_id, row in found.items() if row] == [7, 1203]
    assert client.info("commandstats")["cmdstat_mget"]["calls"] == 4, "100, 500, 500 and the rest"
    commit(schedule, {str(n): b'{"text":"%s"}' % (b"x" * 20_000) for n in range(2000, 2150)})
    client.config_resetstat()
    assert None not in inv.get_many(range(2000, 2150), **reading).values()
    assert client.info("commandstats")["cmdstat_mget"]["calls"] == 2, "100 rows of 20 KB, and not much more than 1 MB"


def test_age_is_the_time_since_the_last_accepted_commit(inv, schedule, client):
    commit(schedule, {"42": b"{}"})
    assert 0 <= inv.age("42") < 60
    client.zincrby("refreshed:", -60, "42")
    assert 60 <= inv.age("42") < 120


def test_age_of_a_row_that_is_not_cached_is_none(inv, schedule):
    schedule.put_rows({"42": (100, 0)})
    assert inv.age("42") is None


def test_age_is_by_the_clock_of_the_server(inv, schedule, client):
    commit(schedule, {"42": b"{}"})
    client.zincrby("refreshed:", 3600, "42")
    assert inv.age("42") is None, "the clock has stepped back since"
    assert inv.get("42", max_age=5) is None
    assert inv.get("42") == {}


def test_exists_tells_whether_a_row_is_cached(inv, schedule):
    commit(schedule, {"42": b"{}"})
    assert inv.exists("42") is True
    assert inv.exists(43) is False


def test_get_with_age_gives_row_and_age(inv, schedule, client):
    commit(schedule, {"42": b'{"id":42}'})
    client.zincrby("refreshed:", -60, "42")
    found = inv.get_with_age("42")
    assert isinstance(found, CachedRow)
    assert found.row == {"id": 42}
    assert 60 <= found.age < 120
    assert found.is_stale is False, "no max_age was asked for"


def test_value_older_than_max_age_is_not_returned_as_if_it_were_fresh(inv, schedule, client):
    commit(schedule, {"42": b'{"id":42}', "43": b'{"id":43}'})
    client.zincrby("refreshed:", -60, "42")
    assert inv.get("42", max_age=100) == {"id": 42}
    assert inv.get("42", max_age=50) is None
    assert inv.get_many(["42", "43"], max_age=50) == {"42": None, "43": {"id": 43}}
    assert inv.get_with_age("42", max_age=50).is_stale is True
    assert inv.get_with_age("42", max_age=50).row == {"id": 42}
    assert inv.get_with_age("43", max_age=50).is_stale is False


def test_value_of_unknown_age_is_stale_when_an_age_is_asked_for(inv, client):
    client.set("inv:42", b'{"id":42}')
    assert inv.get("42") == {"id": 42}
    assert inv.get("42", max_age=1e9) is None
    assert inv.get_with_age("42", max_age=1e9) == CachedRow({"id": 42}, None, is_stale=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_age": -1}, "max_age is -1: it must be 0 or more seconds, or None"),
        ({"max_age": "5"}, "max_age is '5': it must be"),
        ({"max_age": float("nan")}, "max_age is nan: it must be"),
        ({"delay": 10}, "delay is given without fill=True"),
        ({"delay": 0, "fill": True}, "delay is 0: it must be from 0.05"),
    ],
)
def test_wrong_option_is_a_clear_error(inv, options, message):
    for read in (inv.get, inv.get_with_age, lambda row_id, **given: inv.get_many([row_id], **given)):
        with pytest.raises(ArgumentError, match=message):
            read("42", **options)


@pytest.mark.parametrize("row_id", [None, 1.5, ["42"], "\ud800", "", (), (1, None)])
def test_wrong_row_id_is_a_clear_error(inv, row_id):
    reads = (inv.get, inv.age, inv.exists, inv.get_with_age, lambda asked: inv.get(asked, fill=True))
    for read in reads:
        with pytest.raises(ArgumentError, match="row id is"):
            read(row_id)


def test_fill_without_a_database_is_a_clear_error(inv):
    with pytest.raises(FillError, match="inv cannot be filled: no database is known: set rowcache_database_url"):
        inv.get("42", fill=True)
    with pytest.raises(FillError, match="no database is known"):
        inv.get("42", fill=True)


def test_age_is_never_less_than_that_of_the_value_it_comes_with(inv, schedule, client):
    """Of a commit in between, the age may be that of the value before: so it is asked for first."""
    commit(schedule, {"42": b"{}"})
    with client.monitor() as monitor:
        inv.get_with_age("42")
        names = []
        while "TIME" not in names:
            names.append(monitor.next_command()["command"].split()[0])
    assert names[-3:] == ["ZMSCORE", "MGET", "TIME"]


def test_reads_of_others_go_on_when_one_reader_is_closed(valkey, schedule):
    commit(schedule, {"42": b"{}"})
    stop, wrong = threading.Event(), []

    def read():
        cache = RowCache("inv", url=valkey.url_for(9))
        while not stop.is_set():
            try:
                cache.get("42")
            except Exception as error:  # noqa: BLE001 a raw error of redis-py as well
                wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        RowCache("inv", url=valkey.url_for(9)).close()
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_pool_of_the_application_without_a_free_connection_is_no_outage_of_redis(valkey, schedule):
    commit(schedule, {"42": b"{}"})
    mine = redis.Redis.from_url(valkey.url_for(9), max_connections=1)
    cache = RowCache("inv", client=mine, namespace="")
    connection = mine.connection_pool.get_connection()
    for _ in range(5):
        with pytest.raises(CacheError, match="inv: all connections are in use: try again, or allow more"):
            cache.get("42")
    mine.connection_pool.release(connection)
    assert cache.get("42") == {}
    mine.close()


def test_namespace_without_a_server_is_a_clear_error():
    for kind in (RowCache, AsyncRowCache):
        with pytest.raises(ArgumentError, match="namespace is 'users', and no server is given: give url or client"):
            kind("users", namespace="users")


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (
            "state",
            {},
            "the name of the table, which is its namespace as no namespace= is given, is 'state': this name ",
        ),
        ("a b", {}, "the name of the table, which is its namespace as no namespace= is given, is 'a b': allowed are "),
        ("inv", {"namespace": "a b"}, "namespace is 'a b': allowed are letters"),
    ],
)
def test_wrong_namespace_beside_a_url_is_an_error_about_the_argument(table, options, message):
    for kind in (RowCache, AsyncRowCache):
        with pytest.raises(ConfigError, match=f"^{message}"):
            kind(table, url="redis://h", **options)


def test_password_of_the_database_is_in_no_representation():
    options = ReadThrough(database_url="postgresql://user:secret@host/db")
    assert "secret" not in repr(options)


def test_namespace_of_a_table_is_its_name_but_of_inv(open_reader, client, schedule):
    commit(Schedule(client, Table("users", "users", namespace="users")), {"1": b'{"id":1}'})
    commit(schedule, {"2": b'{"id":2}'})
    assert open_reader("users").get(1) == open_reader("inv", namespace="users").get(1) == {"id": 1}
    assert open_reader("inv").get(2) == open_reader("users", namespace="").get(2) == {"id": 2}
    assert open_reader("users").get(2) is open_reader("inv").get(1) is None


def test_key_is_of_any_type_and_several_columns_are_a_tuple(inv, schedule):
    keys = [UUID(int=5), date(2026, 1, 2), (7, "a,b"), True, b"\0"]
    commit(schedule, {row_id(key): b'{"n":%d}' % n for n, key in enumerate(keys)})
    assert inv.get_many(keys) == {key: {"n": n} for n, key in enumerate(keys)}
    assert [inv.get(key, max_age=timedelta(days=1)) for key in keys] == [{"n": n} for n in range(5)]
    with pytest.raises(ArgumentError, match=r"one key of 2 columns.*: write \[\(7, 'a,b'\)\]"):
        inv.get_many((7, "a,b"))
    with pytest.raises(ArgumentError, match=r"this str is one key: write \['42'\]"):
        inv.get_many("42")


def test_settings_come_from_the_configuration_module(open_reader, valkey, schedule, tmp_path, monkeypatch):
    commit(schedule, {"42": b'{"id":42}'})
    tables = {"inv": {"table": "inventory"}}
    name = f"reader_settings_{open_reader.kind}"
    (tmp_path / f"{name}.py").write_text(f"rowcache_redis_url = {valkey.url_for(9)!r}\nrowcache_tables = {tables!r}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CELERY_CONFIG_MODULE", name)
    assert open_reader(url=None).get("42") == {"id": 42}
    with pytest.raises(ArgumentError, match="table 'nope' is not in rowcache_tables"):
        open_reader("nope", url=None)


def test_wrong_url_is_a_clear_error(open_reader):
    with pytest.raises(ConfigError, match="rowcache_redis_url is 'http://x': allowed is redis://"):
        open_reader(url="http://x")


@pytest.mark.parametrize(("name", "value"), [("read_through", True), ("read_through", ""), ("growing_from", None)])
def test_option_of_another_type_is_a_clear_error(open_reader, name, value):
    with pytest.raises(RowCacheError, match=f"{name} is {value!r}: allowed is a"):
        open_reader(**{name: value})


def test_wrong_timeout_is_a_clear_error(open_reader):
    with pytest.raises(ArgumentError, match=r"timeout is 0: allowed is a number of seconds from 0\.01 to 600"):
        open_reader(timeout=0)


def test_no_connection_is_opened_before_the_first_read(open_reader):
    cache = open_reader(url="unix:///nowhere/valkey.sock")
    with pytest.raises(CacheError, match="inv: Redis does not answer: "):
        cache.get("42")


@pytest.mark.parametrize("value", ["[1]", "?1"])
def test_value_that_is_no_json_object_counts_as_not_cached_and_is_logged(inv, client, caplog, value):
    client.set("inv:1", value)
    client.rpush("inv:2", "x")
    with caplog.at_level(logging.WARNING):
        assert inv.get("1") is None
        assert inv.get("2") is None
        assert inv.get_many(["1", "2"]) == {"1": None, "2": None}
        assert inv.get_with_age("1") is None
    assert "row '1' of inv" in caplog.text


class Item(msgspec.Struct):
    id: int


@dataclass
class Other:
    id: int


class Model(BaseModel):
    id: int

    def __init__(self, id=0, **fields):  # noqa: A002
        super().__init__(id=id, **fields)


@pytest.mark.parametrize("kind", [Item, Other, Model])
def test_rows_are_of_the_type_asked_for(open_reader, schedule, kind):
    commit(schedule, {"42": b'{"id":42}'})
    cache = open_reader(type=kind)
    assert cache.get("42") == kind(42)
    assert cache.get_many(["42", "43"]) == {"42": kind(42), "43": None}
    assert cache.get_with_age("42").row == kind(42)


def test_one_row_that_does_not_fit_is_an_error_that_has_the_others(open_reader, schedule):
    commit(schedule, {"1": b'{"id":1}', "2": b'{"id":"two"}', "3": b'{"id":3}'})
    cache = open_reader(type=Item)
    with pytest.raises(RowTypeError, match="row 2 of inv does not fit Item: column 'id'") as caught:
        cache.get_many([3, "nope", 2, 1])
    assert caught.value.row_id == 2
    assert list(caught.value.rows.items()) == [(3, Item(3)), ("nope", None), (2, None), (1, Item(1))]
    with pytest.raises(RowTypeError) as caught:
        cache.get(2)
    assert caught.value.rows == {}


def test_rows_that_do_not_fit_are_counted(open_reader, schedule):
    commit(schedule, {"1": b'{"id":"one"}', "2": b'{"id":"two"}', "3": b'{"id":3}', "4": b"[]"})
    cache = open_reader(type=Item)
    for options in ({}, {"max_age": 60}, {"fill": True}):
        with pytest.raises(RowTypeError, match=r"row '1' of inv .*\(2 of 3 rows do not fit\)") as caught:
            cache.get_many(["1", "2", "3"], **options)
        assert caught.value.rows == {"1": None, "2": None, "3": Item(3)}
    assert cache.get_many(["3", "4"]) == {"3": Item(3), "4": None}


def test_client_of_the_application_is_used_and_left_open(open_reader, valkey, schedule):
    commit(schedule, {"42": '{"id":42,"name":"ż"}'.encode()})
    library = redis if open_reader.kind == "threads" else redis.asyncio
    for decodes in (False, True):
        mine = library.Redis.from_url(valkey.url_for(9), decode_responses=decodes, client_name="mine")
        cache = READER_KINDS[open_reader.kind]("inv", client=mine, namespace="")
        assert cache.get("42") == {"id": 42, "name": "ż"}
        assert cache.get_many(["42"]) == {"42": {"id": 42, "name": "ż"}}
        assert cache.get("42", max_age=60) == {"id": 42, "name": "ż"}
        assert cache.age("42") < 60
        names = {entry["name"] for entry in schedule._client.client_list()}
        assert "mine" in names, "no connection of another client is used"
        cache.close()
        assert cache.get("42") == {"id": 42, "name": "ż"}
        cache.end(mine)


def test_client_of_the_other_kind_is_refused(open_reader, valkey):
    library = redis.asyncio if open_reader.kind == "threads" else redis
    with pytest.raises(ArgumentError, match=r"client is a redis\..*: (Async)?RowCache takes a redis\."):
        open_reader(client=library.Redis.from_url(valkey.url_for(9)))


def test_url_beside_a_client_is_refused(open_reader, valkey):
    library = redis if open_reader.kind == "threads" else redis.asyncio
    with pytest.raises(ArgumentError, match="url and client are given"):
        open_reader(client=library.Redis.from_url(valkey.url_for(9)), url=valkey.url_for(9))


def test_both_kinds_have_the_same_methods():
    public = [{name for name in vars(kind) if not name.startswith("_")} for kind in (RowCache, AsyncRowCache)]
    assert public[0] == public[1]


def test_readers_of_a_process_share_one_pool(valkey, client, schedule):
    commit(schedule, {"42": b"{}"})
    before = [entry["name"] for entry in client.client_list()].count("rowcache-reader")  # of other tests
    caches = [RowCache("inv", url=valkey.url_for(9)) for _ in range(10)]
    for cache in caches:
        assert cache.get("42") == {}
    assert [entry["name"] for entry in client.client_list()].count("rowcache-reader") <= before + 1


def test_threads_read_with_one_cache(valkey, schedule):
    commit(schedule, {str(n): b'{"id":%d}' % n for n in range(8)})
    cache, wrong = RowCache("inv", url=valkey.url_for(9)), []

    def read(n):
        wrong.extend(row for row in (cache.get(n) for _ in range(200)) if row != {"id": n})

    threads = [threading.Thread(target=read, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_reading_works_in_a_forked_child(valkey, schedule):
    cache = RowCache("inv", url=valkey.url_for(9))
    commit(schedule, {"42": b'{"id":42}'})
    assert cache.get("42") == {"id": 42}
    child = os.fork()
    if child == 0:
        os._exit(0 if all(cache.get("42") == {"id": 42} for _ in range(100)) else 1)
    assert all(cache.get("42") == {"id": 42} for _ in range(100))
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("kind", [RowCache, AsyncRowCache])
@pytest.mark.parametrize("copied", [lambda given: pickle.loads(pickle.dumps(given)), copy.copy], ids=["pickle", "copy"])
def test_copy_of_a_reader_has_its_settings_and_connections_of_its_own(valkey, schedule, kind, copied):
    commit(schedule, {"42": b'{"id":42}'})
    url = valkey.url_for(9)

    async def read():
        near = kind("inv", url=url, type=Item, near=10, timeout=5, read_through=ReadThrough(ttl=7))
        if kind is RowCache:
            with near, copied(near) as copy:
                return near.get(42), copy.get(42), copy
        async with near, copied(near) as copy:
            return await near.get(42), await copy.get(42), copy

    first, second, copy = asyncio.run(read())
    assert first == second == Item(42)
    assert copy.near_statistics().sessions == 1
    assert repr(copy) == f"{kind.__name__}('inv', url={redact(url)!r}, namespace='', type=Item)"


def test_reader_with_a_client_is_not_pickled_and_shows_no_password():
    with redis.Redis(password="s3cret") as mine, pytest.raises(TypeError, match="client of the application; give url"):
        pickle.dumps(RowCache("inv", client=mine, namespace=""))
    assert repr(RowCache("users", url="redis://me:s3cret@h/1")) == (
        "RowCache('users', url='redis://***@h/1', namespace='users')"
    )


def test_read_outside_of_asyncio_is_one_line_of_error(valkey):
    cache = AsyncRowCache("inv", url=valkey.url_for(9))
    near = AsyncRowCache("inv", url=valkey.url_for(9), near=5)
    reads = [cache.get(1), cache.get_many([1]), cache.age(1), cache.exists(1), cache.get(1, max_age=5), cache.close()]
    for read in (*reads, cache.get_with_age(1), cache.get(1, fill=True), near.get(1), near.close()):
        with pytest.raises(ArgumentError, match=r"outside of asyncio, as in trio: .* use RowCache in a thread"):
            read.send(None)
