"""Connections after a failover whose old primary lives on as a replica."""

import asyncio

import pytest
import redis
import trustme
from support.failover_pair import FailoverPair
from support.tls_proxy import TlsProxy
from support.waiting import wait_until

from rowcache_tasks import AsyncRowCache, CacheError, Refresher, RowCache
from rowcache_tasks.config.settings import Table
from rowcache_tasks.dispatch.backpressure import Limits
from rowcache_tasks.dispatch.dispatcher import Dispatcher
from rowcache_tasks.dispatch.next_due import NextDue
from rowcache_tasks.dispatch.wakeup import Wakeup
from rowcache_tasks.reader.near import connection as near_connection
from rowcache_tasks.reader.near.connection import PROBE_S
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.role import CHECK_S, Role, role_of
from rowcache_tasks.schedule.rows import Schedule

SOON_S = CHECK_S + 30
"""CHECK_S, on a machine that has time."""


@pytest.fixture(scope="module")
def servers():
    with FailoverPair(is_split=True) as pair:
        yield pair


@pytest.fixture
def pair(servers):
    """A pair whose replica has data of its own, so that a test sees which server has answered."""
    servers.follow()
    for server, value in ((servers.primary, '{"v": "old"}'), (servers.replica, '{"v": "new"}')):
        servers.promote(server)
        servers.command(server, "FLUSHALL")
        servers.command(server, "SET", "inv:1", value)
    servers.demote(servers.replica)
    return servers


@pytest.fixture
def client(pair):
    with connect(pair.url(), "test") as client:
        yield client


def test_write_that_a_replica_refuses_is_sent_again_to_the_primary(pair, client):
    schedule = Schedule(client, Table("inv", "inventory"))
    schedule.put_rows({"1": (10, 0)})
    pair.fail_over()
    assert client.set("a", 1), "a command"
    pair.fail_over()
    schedule.put_rows({"2": (10, 0)})
    assert client.zcard("schedule:") == 2, "a script"
    pair.fail_over()
    with client.pipeline(transaction=False) as pipeline:
        assert pipeline.get("a").set("b", 1).execute() == [b"1", True], "a pipeline"
    pair.fail_over()
    with client.pipeline(transaction=True) as pipeline:
        assert pipeline.get("a").set("b", 2).execute() == [None, True], "a transaction"


@pytest.mark.parametrize("kind", ["unix", "rediss"])
def test_write_is_sent_again_over_each_kind_of_connection(pair, kind, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with TlsProxy(pair.path, authority.issue_cert("127.0.0.1")) as proxy:
        urls = {
            "unix": f"unix://{pair.path}?db=0",
            "rediss": f"rediss://127.0.0.1:{proxy.port}/0?ssl_ca_certs={tmp_path}/ca.pem",
        }
        with connect(urls[kind], "test") as client:
            client.ping()
            pair.fail_over()
            assert client.set("a", 1)


def test_write_within_a_transaction_is_sent_again(pair, client):
    """The reply of a replica is a list, with the error in it."""
    put = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])"
    client.ping()
    pair.fail_over()
    with client.pipeline(transaction=True) as pipeline:
        assert pipeline.eval(put, 1, "a", 1).get("a").execute() == [b"1", b"1"]


def test_primary_that_is_cut_off_from_its_replicas_is_an_outage_for_writes_only(pair, client):
    reader = RowCache("inv", url=pair.url(), namespace="")
    pair.command(pair.primary, "CONFIG", "SET", "min-replicas-to-write", 1)
    try:
        with pytest.raises(redis.ConnectionError, match="takes no writes: NOREPLICAS"):
            Schedule(client, Table("inv", "inventory")).put_rows({"1": (10, 0)})
        for _ in range(5):
            with pytest.raises(CacheError, match="Redis refuses: NOREPLICAS"):
                reader.get("2", fill=True)
            assert reader.get("1") == {"v": "old"}
        pair.fail_over()
        assert client.set("a", 1)
    finally:
        for server in pair.servers:
            pair.command(server, "CONFIG", "SET", "min-replicas-to-write", 0)
        reader.close()


def test_dispatcher_releases_a_batch_that_was_not_sent_when_redis_is_back(pair, client):
    class Broker:
        def send(self, table, claims):
            sent.extend(claims)
            if len(sent) == 1:
                pair.demote(pair.primary)
                raise OSError("the broker is away as well")

        def queue_length(self):
            return 0

    sent = []
    schedule = Schedule(client, Table("inv", "inventory"))
    schedule.put_rows({"1": (100, 0)})
    dispatcher = Dispatcher(client, [schedule], Broker(), Limits(lease_s=600))
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            dispatcher.run_once()
    pair.promote(pair.primary)
    dispatcher.run_once()
    assert [claim.row_ids for claim in sent] == [["1"], ["1"]]
    dispatcher.close()


def test_connections_that_are_idle_at_a_failover_are_replaced_before_their_next_command(pair, client):
    pool = client.connection_pool
    for connection in [pool.get_connection() for _ in range(3)]:
        pool.release(connection)
    pair.fail_over()
    client.set("a", 1)
    for _ in range(3):
        connection = pool.get_connection()
        connection.send_command("SET", "b", 1)
        assert connection.read_response() == b"OK"


def test_connection_that_another_thread_uses_is_left_alone(pair, client):
    busy = client.connection_pool.get_connection()
    pair.fail_over()
    client.set("a", 1)
    busy.send_command("GET", "inv:1")
    assert busy.read_response() == b'{"v": "old"}'
    client.connection_pool.release(busy)


def test_client_that_only_reads_leaves_a_replica(pair, client):
    client.zadd("schedule:", {"1": 5e9})
    next_due = NextDue(client, [Table("inv", "inventory")])
    assert next_due.read()["wake:"] > 0
    pair.fail_over()
    pair.command(pair.primary, "ZADD", "schedule:", 1, "1")
    wait_until(lambda: next_due.read()["wake:"] < 0, "it asks the primary", SOON_S)
    next_due.close()


def test_sleeping_dispatcher_is_woken_at_the_new_primary(pair, client):
    wakeup = Wakeup(client, ["wake:"])
    assert wakeup.wait(0.01) is None
    pair.fail_over()
    pair.command(pair.primary, "LPUSH", "wake:", 1)
    wait_until(lambda: wakeup.wait(0.1) == "wake:", "it is woken", SOON_S)
    wakeup.close()


def test_address_that_leads_to_a_replica_is_an_outage_for_a_client_that_writes(pair, client):
    client.set("a", 1)
    pair.demote(pair.primary)
    with pytest.raises(redis.ConnectionError, match="is not the primary: it is a replica"):
        client.set("a", 2)
    pair.promote(pair.replica)
    pair.switch(pair.replica)
    assert client.set("a", 2)


@pytest.mark.parametrize("role", ["primary", "replica"])
def test_readers_leave_a_replica(pair, role):
    """Also those that found nothing but a replica at first."""
    readers = [RowCache("inv", url=pair.url(), namespace="", near=near) for near in (0, 10)]
    event_loop = asyncio.Runner()
    awaited = AsyncRowCache("inv", url=pair.url(), namespace="")

    def read():
        return [*(reader.get("1") for reader in readers), event_loop.run(awaited.get("1"))]

    if role == "replica":
        pair.demote(pair.primary)
    assert read() == 3 * [{"v": "old"}]
    pair.fail_over()
    wait_s = SOON_S + (PROBE_S if role == "replica" else 0)
    wait_until(lambda: read() == 3 * [{"v": "new"}], "all read the new primary", wait_s, pause_s=0.05)
    event_loop.run(awaited.close())
    event_loop.close()
    for reader in readers:
        reader.close()


def test_near_cache_forgets_its_rows_when_their_server_becomes_a_replica(pair, monkeypatch):
    monkeypatch.setattr(near_connection, "PROBE_S", 3600)
    reader = RowCache("inv", url=pair.url(), namespace="", near=10)
    wait_until(lambda: reader.get("1") and reader.near_statistics().hits, "the row is kept")
    (thread,) = reader._near._threads.values()
    wait_until(lambda: thread.session.role == "master", "the role is known")
    pair.fail_over()
    wait_until(lambda: reader.get("1") == {"v": "new"}, "the row is read from the new primary", SOON_S)
    reader.close()


def test_reader_of_a_replica_serves_its_rows_and_refuses_to_fill(pair):
    pair.switch(pair.replica)
    reader = RowCache("inv", url=pair.url(), namespace="")
    for _ in range(5):
        assert reader.get("1") == {"v": "new"}
        with pytest.raises(Exception, match="Redis refuses: You can't write against a read only replica"):
            reader.get("2", fill=True)
    reader.close()


def test_refresher_leaves_a_replica(pair, client):
    for server in (pair.primary, pair.replica):
        pair.promote(server)
        pair.command(server, "ZADD", "delay:", 100, "1")
        pair.command(server, "ZADD", "schedule:", 5e9, "1")
    pair.demote(pair.replica)
    refresher = Refresher(url=pair.url(), tables={"inv": {"table": "inventory"}})
    assert refresher.refresh_now("inv", ["1"]) == 1
    pair.fail_over()
    assert refresher.refresh_now("inv", ["1"]) == 1
    refresher.close()


@pytest.mark.parametrize(
    ("text", "is_lost"),
    [
        ("MISCONF Errors writing to the AOF file: No space left on device", True),
        ("Transaction discarded because of: READONLY You can't write against a read only replica.", True),
        ("Error running script (call to f_1): @user_script:1: -NOREPLICAS Not enough good replicas to write.", True),
        ("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", True),
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", True),
        ("BUSYGROUP Consumer Group name already exists", False),
        ("OOM command not allowed when used memory > 'maxmemory'.", False),
        ("WRONGTYPE Operation against a key: READONLY", False),
    ],
)
def test_errors_of_a_server_that_takes_no_writes_are_a_lost_connection(text, is_lost):
    assert Role()._note_refusal(redis.ResponseError(text)) is is_lost


def test_primary_that_takes_no_writes_is_not_called_a_replica():
    role = Role()
    role.host, role.port = "cache", 6379
    assert str(role._moved("BUSY Redis is busy")) == "the server at cache:6379 takes no writes: BUSY Redis is busy"
    assert str(role._moved()) == "the server at cache:6379 is not the primary: it is a replica"
    role.path, role.host = "/run/valkey.sock", None
    assert str(role._moved()) == "the server at /run/valkey.sock is not the primary: it is a replica"


@pytest.mark.parametrize(
    ("hello", "role"),
    [([b"server", b"redis", b"role", b"master"], "master"), ({"role": "replica"}, "replica"), (None, ""), ([1], "")],
)
def test_role_is_read_in_each_form_of_the_reply(hello, role):
    assert role_of(hello) == role
