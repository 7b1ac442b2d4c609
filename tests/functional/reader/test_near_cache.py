"""The near cache on a real Valkey; with REDIS_SERVER=/path/to/redis-server (6.0 or later) on that Redis, too."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import redis
import redis.asyncio
import trustme
from proof.chaos.proxy import Proxy
from support.deployment import with_login
from support.project import ROOT
from support.tls_proxy import TlsProxy
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks import ArgumentError
from rowcache_tasks.config.settings import Table
from rowcache_tasks.reader.near import connection as near_connection
from rowcache_tasks.reader.near.cache import NearCache
from rowcache_tasks.reader.near.session import ABSENT
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

KEY, OLD, NEW = b"inv:1", b'{"stock":1}', b'{"stock":2}'
SERVERS = ["valkey", "redis"] if "REDIS_SERVER" in os.environ else ["valkey"]


@pytest.fixture(scope="module", params=SERVERS)
def valkey(request):
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "redis":
            patch.setenv("ROWCACHE_VALKEY_SERVER", os.environ["REDIS_SERVER"])
        with Valkey() as server:
            yield server


@pytest.fixture
def make():
    """Make near caches, which are closed at the end. Their server may be silent for long: the machine may be slow."""
    made = []

    def make(client, max_silence_s=60, **options):
        made.append(NearCache(client, max_silence_s=max_silence_s, **options))
        return made[-1]

    yield make
    for near in made:
        near.close()


@pytest.fixture
def near(make, client):
    client.set(KEY, OLD)
    near = make(client)
    assert warm(near) == OLD
    return near


def fetch(near, key):
    """Fetch one row."""
    values = near.fetch_many([key])
    return None if values is None else values[0]


async def fetch_async(near, key):
    values = await near.fetch_many_async([key])
    return None if values is None else values[0]


def warm(near, key=KEY):
    """Fetch a row as soon as there is a tracked connection; gives its value."""
    found = []

    def is_fetched():
        found[:] = [fetch(near, key)]
        return found != [None]

    wait_until(is_fetched, "the connection is tracked")
    return found[0]


def is_gone(near, key=KEY):
    return lambda: near.get(key) is None


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "rowcache-near"]


def commit(schedule, values):
    schedule.touch_rows(values)
    return schedule.commit_rows(schedule.claim_rows(len(values), 30)[0], values)


def mget_calls(client):
    return client.info("commandstats").get("cmdstat_mget", {"calls": 0})["calls"]


def test_hit_asks_the_server_nothing(near, client):
    before = mget_calls(client)
    assert [near.get(KEY) for _ in range(100)] == [OLD] * 100
    assert mget_calls(client) == before
    assert near.statistics().hits == 100


def test_commit_of_a_changed_row_takes_the_old_value_away(make, client, schedule):
    schedule.put_rows({"1": (100, 0), "2": (100, 0)})
    commit(schedule, {"1": OLD, "2": OLD})
    near = make(client)
    warm(near)
    assert near.fetch_many([KEY, b"inv:2"]) == [OLD, OLD]
    commit(schedule, {"1": NEW, "2": OLD})
    wait_until(is_gone(near), "the row is invalidated")
    assert fetch(near, KEY) == NEW
    assert near.get(KEY) == NEW
    assert near.get(b"inv:2") == OLD
    assert near.statistics().invalidations == 1


def test_unchanged_refresh_invalidates_nothing(make, client, schedule):
    schedule.put_rows({"1": (100, 0)})
    commit(schedule, {"1": OLD})
    near = make(client)
    warm(near)
    for _ in range(20):
        assert commit(schedule, {"1": OLD}).unchanged == 1
    fetch(near, b"inv:other")  # what was pushed before its answer has arrived
    assert near.get(KEY) == OLD
    assert near.statistics().invalidations == 0


def test_refresh_of_a_table_with_a_ttl_invalidates_each_time(make, client):
    schedule = Schedule(client, Table("inv", "inventory", ttl_s=60))
    schedule.put_rows({"1": (100, 0)})
    commit(schedule, {"1": OLD})
    near = make(client)
    warm(near)
    assert commit(schedule, {"1": OLD}).unchanged == 1
    wait_until(is_gone(near), "the row is invalidated, since its life was prolonged")


def test_dropped_row_and_one_that_expires_are_absent(near, client, schedule):
    schedule.drop_rows(["1"])
    wait_until(is_gone(near), "the row is invalidated")
    assert fetch(near, KEY) == ABSENT
    client.set(b"inv:2", OLD, px=50)
    fetch(near, b"inv:2")
    wait_until(lambda: fetch(near, b"inv:2") == ABSENT, "the row has expired")


def test_absent_row_is_known_to_be_absent_until_it_is_there(near, client):
    assert fetch(near, b"inv:2") == ABSENT
    assert near.get(b"inv:2") == ABSENT
    client.set(b"inv:2", NEW)
    wait_until(is_gone(near, b"inv:2"), "the row is invalidated")
    assert fetch(near, b"inv:2") == NEW


def test_key_of_another_type_is_absent(near, client):
    client.rpush("inv:list", "1")
    assert fetch(near, b"inv:list") == ABSENT


def test_flush_of_the_database_takes_all_rows_away(near, client):
    near.fetch_many([b"inv:2", b"inv:3"])
    client.flushdb()
    wait_until(lambda: near.statistics().rows == 0, "all rows are invalidated")
    assert fetch(near, KEY) == ABSENT


def test_thousands_of_rows_are_invalidated_at_once(make, client):
    keys = [b"inv:%d" % n for n in range(1, 5001)]
    client.mset(dict.fromkeys(keys, OLD))
    near = make(client)
    warm(near)
    assert near.fetch_many(keys) == [OLD] * 5000
    client.mset(dict.fromkeys(keys, NEW))
    wait_until(lambda: near.statistics().rows == 0, "all rows are invalidated")
    assert near.fetch_many(keys) == [NEW] * 5000
    assert near.statistics().sessions == 1


def test_no_more_rows_are_kept_than_allowed(make, client):
    near = make(client, max_rows=10)
    warm(near, b"inv:0")
    near.fetch_many([b"inv:%d" % n for n in range(100)])
    assert near.statistics().rows == 10
    assert near.get(b"inv:99") == ABSENT
    assert near.get(b"inv:89") is None


def test_answer_that_is_old_when_it_arrives_is_not_kept(make, client, monkeypatch):
    is_sent, gate = threading.Event(), threading.Event()
    send, take = near_connection.send, near_connection.take

    def send_and_note(connection, fetches):
        send(connection, fetches)
        if KEY in [key for fetch in fetches for key in fetch.keys]:
            is_sent.set()

    def take_later(*arguments):
        if is_sent.is_set():
            gate.wait(30)
        return take(*arguments)

    monkeypatch.setattr(near_connection, "send", send_and_note)
    monkeypatch.setattr(near_connection, "take", take_later)
    near = make(client)
    client.set(KEY, OLD)
    warm(near, b"inv:other")
    before = mget_calls(client)
    fetched = []
    reader = threading.Thread(target=lambda: fetched.append(fetch(near, KEY)))
    reader.start()
    wait_until(lambda: mget_calls(client) > before, "the server has answered")
    client.set(KEY, NEW)
    gate.set()
    reader.join(30)
    assert fetched == [OLD], "it was the value when it was asked for"
    wait_until(is_gone(near), "the row is invalidated")
    assert fetch(near, KEY) == NEW


def test_no_thread_sees_a_row_go_back(make, client, valkey):
    near = make(client, max_rows=2)
    warm(near, b"inv:0")
    reader_client, is_over, errors = connect(valkey.url_for(9), "test"), threading.Event(), []

    def read(key):
        last = 0
        while not is_over.is_set():
            value = near.get(key) or fetch(near, key) or reader_client.get(key)
            number = int(value or 0)
            if number < last:
                errors.append((key, last, number))
            last = number
        if last == 0:
            errors.append((key, "nothing was read"))

    keys = [b"inv:1", b"inv:2", b"inv:3"]
    readers = [threading.Thread(target=read, args=(key,)) for key in keys]
    for reader in readers:
        reader.start()
    for number in range(1, 301):
        client.mset(dict.fromkeys(keys, number))
    is_over.set()
    for reader in readers:
        reader.join()
    assert errors == []
    assert near.statistics().invalidations > 10
    wait_until(lambda: near.fetch_many(keys) == [b"300"] * 3, "the last value is read")
    reader_client.close()


def test_lost_connection_takes_everything_with_it_and_is_replaced(near, client):
    fetch(near, b"inv:2")
    (listener,) = [one for one in client.client_list() if one["name"] == "rowcache-test-near"]
    client.set("inv:3", OLD)
    client.client_kill_filter(_id=listener["id"])
    client.set(KEY, NEW)
    wait_until(is_gone(near), "the loss is noticed")
    assert near.get(b"inv:2") is None
    assert warm(near) == NEW
    assert near.statistics().sessions == 2


def test_server_that_goes_and_comes_back_is_tracked_again(make):
    with Valkey() as server:
        client = connect(server.url, "test")
        client.set(KEY, OLD)
        near = make(client)
        warm(near)
        server.kill()
        wait_until(is_gone(near), "the loss is noticed")
        assert fetch(near, KEY) is None
        server.start()
        assert warm(near) == ABSENT
        client.set(KEY, NEW)
        wait_until(lambda: fetch(near, KEY) == NEW, "the new server is tracked")
        client.close()


@pytest.fixture
def link(valkey):
    """A TCP link to the server, which can fall silent."""
    proxy = Proxy("test", unquote(urlsplit(valkey.url).path))
    proxy.start()
    yield proxy
    proxy.stop()


def test_no_value_is_served_for_longer_than_the_promise_when_the_network_falls_silent(link, make, client):
    promise_s = 0.5
    client.set(KEY, OLD)
    linked = connect(f"redis://127.0.0.1:{link.port}/9", "test")
    near = make(linked, max_silence_s=promise_s)
    wait_until(lambda: fetch(near, KEY) and near.get(KEY), "the row is kept")
    link.hang()
    silent_since = time.monotonic()
    client.set(KEY, NEW)
    last_served = silent_since
    while near.statistics().rows and time.monotonic() < silent_since + 30:
        asked = time.monotonic()
        if near.get(KEY) is not None:
            last_served = asked
    assert last_served - silent_since <= promise_s
    link.release()
    assert wait_until(lambda: fetch(near, KEY), "a new connection is tracked") == NEW
    linked.close()


def test_server_is_asked_whether_it_is_there_while_nobody_fetches(make, client):
    near = make(client, max_silence_s=4)
    warm(near)
    (thread,) = near._threads.values()
    session = thread.session
    proven_at = session.proven_at
    wait_until(lambda: session.proven_at > proven_at + 0.5, "it was asked by itself")
    assert near.get(KEY) is not None


def test_one_who_waits_when_the_network_falls_silent_is_let_go(link, make, client):
    linked = connect(f"redis://127.0.0.1:{link.port}/9", "test")
    near = make(linked, max_silence_s=0.5)
    wait_until(lambda: fetch(near, KEY) is not None, "the connection is tracked")
    link.hang()
    started = time.monotonic()
    assert fetch(near, b"inv:2") is None
    assert fetch(near, b"inv:2") is None
    assert time.monotonic() - started < 30
    linked.close()


def test_fetch_waits_no_longer_than_it_is_told_and_keeps_nothing_that_comes_later(near, make, client, valkey):
    hasty = make(client, wait_s=0.05)
    warm(hasty)
    stopped = make(client, wait_s=0.05)
    warm(stopped, b"inv:other")
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert fetch(stopped, KEY) is None
        assert time.monotonic() - started >= 0.05
        assert near.get(KEY) == OLD, "which is not older than 60 s"
        asynchronous = asyncio.run(fetch_async(hasty, b"inv:2"))
        assert asynchronous is None
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    client.ping()
    wait_until(lambda: fetch(stopped, b"inv:other") is not None, "the server answers again")
    assert stopped.get(KEY) is None, "the answer that came too late is not kept"


FROZEN = """
import sys
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.reader.near.cache import NearCache
client = connect(sys.argv[1], "test")
near = NearCache(client, max_silence_s=0.5)
while near.get(b"inv:1") is None:
    near.fetch_many([b"inv:1"])
print("ready", flush=True)
sys.stdin.readline()
print(near.get(b"inv:1") or (near.fetch_many([b"inv:1"]) or [None])[0] or client.get("inv:1"))
"""


def test_process_that_was_frozen_serves_nothing_old_when_it_wakes(valkey, client):
    client.set(KEY, OLD)
    command = [sys.executable, "-c", FROZEN, valkey.url_for(9)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        frozen_at = time.monotonic()
        client.set(KEY, NEW)
        process.stdin.write("\n")
        process.stdin.flush()
        wait_until(lambda: time.monotonic() > frozen_at + 0.6, "more time has passed than is promised")
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=60)[0] == f"{NEW}\n"
        assert process.returncode == 0, "a process that closes nothing ends all the same"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_forked_child_starts_with_nothing_and_a_connection_of_its_own(near, client):
    child = os.fork()
    if child == 0:
        is_empty = near.get(KEY) is None and near.statistics().rows == 0
        os._exit(0 if is_empty and warm(near) == OLD and near.get(KEY) == OLD else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert near.get(KEY) == OLD
    client.set(KEY, NEW)
    wait_until(is_gone(near), "the parent still hears of changes")
    assert fetch(near, KEY) == NEW
    assert near.statistics().sessions == 1


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_forked_child_does_not_hold_the_connection_of_its_parent(near):
    held = len([*Path("/dev/fd").iterdir()])
    child = os.fork()
    if child == 0:
        # The connection, and both ends of what wakes its thread.
        os._exit(0 if len([*Path("/dev/fd").iterdir()]) <= held - 3 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_nothing_is_opened_before_the_first_fetch_and_nothing_left_after_close(make, client):
    assert threads() == []
    near = make(client)
    assert near.get(KEY) is None
    assert threads() == []
    warm(near, b"inv:none")
    assert len(threads()) == 1
    near.close()
    assert threads() == []
    assert near.get(b"inv:none") is None
    wait_until(
        lambda: "rowcache-test-near" not in {one["name"] for one in client.client_list()}, "the connection is closed"
    )
    assert warm(near, b"inv:none") == ABSENT
    assert near.statistics().sessions == 2


def test_fetch_that_begins_during_close_leaves_no_thread(client):
    class ClosedMeanwhile(NearCache):
        def _make_thread(self, node):
            self.close()
            return super()._make_thread(node)

    assert ClosedMeanwhile(client, max_silence_s=60).fetch_many([KEY]) is None
    wait_until(lambda: threads() == [], "the thread has ended")


def test_near_cache_that_nobody_has_any_more_ends_its_thread(client):
    near = NearCache(client, max_silence_s=60)
    warm(near, b"inv:none")
    del near
    gc.collect()
    wait_until(lambda: threads() == [], "the thread has ended")


def test_process_that_forgets_what_it_writes_reads_what_it_wrote(near, client):
    for number in range(200):
        client.set(KEY, number)
        near.forget([KEY])
        assert (near.get(KEY) or fetch(near, KEY)) == b"%d" % number
        assert near.get(KEY) in {b"%d" % number, None}


def test_asyncio_fetches_on_the_same_connection(make, client, valkey):
    client.mset({f"inv:{n}": n for n in range(1, 101)})

    async def read():
        asynchronous = redis.asyncio.Redis.from_url(valkey.url_for(9), client_name="test")
        near = make(asynchronous)
        while await fetch_async(near, KEY) is None:
            await asyncio.sleep(0.005)
        gone = asyncio.ensure_future(fetch_async(near, b"inv:2"))
        await asyncio.sleep(0)
        gone.cancel()
        found = await asyncio.gather(*(fetch_async(near, b"inv:%d" % n) for n in range(1, 101)))
        assert found == [b"%d" % n for n in range(1, 101)]
        assert await near.fetch_many_async([KEY, b"inv:none"]) == [b"1", ABSENT]
        assert near.get(b"inv:100") == b"100"
        near.close()
        assert near.get(KEY) is None
        assert await fetch_async(near, KEY) in {None, b"1"}, "it starts anew, which may take a moment"
        await asynchronous.aclose()

    asyncio.run(read())


def test_rows_are_tracked_over_tls(make, client, valkey, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with TlsProxy(unquote(urlsplit(valkey.url).path), authority.issue_cert("127.0.0.1")) as proxy:
        linked = connect(f"rediss://127.0.0.1:{proxy.port}/9?ssl_ca_certs={tmp_path}/ca.pem", "test")
        client.mset({f"inv:{n}": "x" * 5000 for n in range(200)})
        near = make(linked)
        warm(near)
        keys = [b"inv:%d" % n for n in range(200)]
        assert near.fetch_many(keys) == [b"x" * 5000] * 200
        client.set(KEY, NEW)
        wait_until(is_gone(near), "the row is invalidated")
        assert fetch(near, KEY) == NEW
        near.close()


@pytest.fixture
def user(client, valkey):
    """Make a user with the rights of a reader and some more; gives the URL to log in with."""

    def make(*rules):
        base = ["-@all", "+ping", "+select", "+client|setname", "+client|setinfo", "+get", "+mget", "%R~inv:*"]
        client.execute_command("ACL SETUSER", "near", "reset", "on", ">secret", *base, *rules)
        return with_login(valkey.url_for(9), "near", "secret")

    yield make
    client.acl_deluser("near")


def test_reader_needs_the_right_to_track_and_no_other(user, make, client):
    client.acl_log_reset()
    client.set(KEY, OLD)
    limited = connect(user("+client|tracking"), "test")
    near = make(limited)
    assert warm(near) == OLD
    client.set(KEY, NEW)
    wait_until(is_gone(near), "the row is invalidated")
    assert fetch(near, KEY) == NEW
    assert fetch(near, b"other") is None, "no right to read it: the caller asks himself, and sees the error"
    with pytest.raises(redis.exceptions.NoPermissionError):
        limited.get("other")
    assert {entry["object"] for entry in client.acl_log()} == {"other"}
    limited.close()


def test_server_that_refuses_to_track_is_one_warning_and_rows_are_read_without_until_it_does(
    user, make, client, caplog, monkeypatch
):
    monkeypatch.setattr(near_connection, "REFUSED_PAUSE_S", 0.05)
    client.set(KEY, OLD)
    client.acl_log_reset()
    limited = connect(user(), "test")

    def refusals():
        return sum(int(entry["count"]) for entry in client.acl_log())

    with caplog.at_level(logging.WARNING):
        near = make(limited)
        assert fetch(near, KEY) is None
        wait_until(lambda: refusals() > 2, "it was tried again")
        assert fetch(near, KEY) is None
    (message,) = caplog.messages
    assert "the near cache is off, rows are read from Redis until it is on again" in message
    assert "does not track what is read" in message
    assert "client|tracking" in message
    assert limited.get(KEY) == OLD
    user("+client|tracking")
    assert warm(near) == OLD
    limited.close()


class OldServer(Valkey):
    """A server that knows RESP2 only, as before Redis 6."""

    def __init__(self):
        super().__init__(args=("--rename-command", "HELLO", ""))

    def _is_ready(self):
        with redis.Redis.from_url(self.url, protocol=2) as client, contextlib.suppress(redis.ConnectionError):
            return client.ping()


def test_server_without_resp3_is_a_warning_and_rows_are_read_without(make, caplog):
    with OldServer() as server:
        client = redis.Redis.from_url(server.url, protocol=2)
        with caplog.at_level(logging.WARNING):
            near = make(client)
            assert fetch(near, KEY) is None
            wait_until(lambda: caplog.messages, "the refusal is logged")
        assert "unknown command" in caplog.messages[0]
        assert client.get(KEY) is None
        client.close()


def test_server_that_is_not_there_is_one_warning(make, caplog):
    with caplog.at_level(logging.WARNING):
        near = make(connect("unix:///nowhere/valkey.sock", "test"))
        assert fetch(near, KEY) is None
        wait_until(lambda: caplog.messages, "the failure is logged")
        near.close()
    assert len(caplog.messages) == 1


def test_what_cannot_be_meant_is_refused(client):
    for options in (
        {"max_rows": 0},
        {"max_rows": True},
        {"max_rows": 1.5},
        {"max_silence_s": 0},
        {"max_silence_s": 61},
    ):
        with pytest.raises(ArgumentError, match="allowed is a number"):
            NearCache(client, **options)
    sentinel = redis.asyncio.sentinel.Sentinel([("localhost", 1)]).master_for("mymaster")
    with pytest.raises(ArgumentError, match="SentinelManagedConnection: it needs one with the address of one server"):
        NearCache(sentinel)
