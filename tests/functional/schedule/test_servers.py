"""Client of several servers, on a real cluster and on two independent servers."""

import asyncio
import math
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest
import redis
from support import login
from support.cluster import Cluster
from support.free_port import free_port
from support.reader_kind import READER_KINDS
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks import AsyncRowCache, CacheError
from rowcache_tasks.config.settings import Table
from rowcache_tasks.dispatch.next_due import NextDue
from rowcache_tasks.keys import slot_of
from rowcache_tasks.ops.parts import read_tables
from rowcache_tasks.schedule.awaiting import run_blocking
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.node import NodeAwayError
from rowcache_tasks.schedule.row_state import read_row_states
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.servers import NODE_TIMEOUT_S, NotReplicatedError, by_node, open_exchange

TABLE = Table("inv", "inventory", partitions=8)
ROWS = [str(number) for number in range(40)]
ENDING = """
import threading
from rowcache_tasks.schedule import slot_map
from rowcache_tasks.schedule.connection import connect

slot_map.CHECK_S = 0.0

class Late:
    def __init__(self):
        self.client = connect("redis://127.0.0.1:1/0 redis://127.0.0.1:2/0", "test")
        self.ask()  # imports are not possible later
        for thread in threading.enumerate()[1:]:
            thread.join()

    def ask(self):
        try:
            self.client.get("a")
        except Exception as error:
            print(type(error).__name__)

    __del__ = ask

late = Late()
"""


@pytest.fixture(scope="module")
def cluster():
    """Cluster that leaves the hosts of its nodes empty, as behind a load balancer that it cannot see."""
    with Cluster(3) as nodes:
        for client in nodes.clients:
            client.config_set("cluster-preferred-endpoint-type", "unknown-endpoint")
        yield nodes


@pytest.fixture
def servers(cluster):
    """Client of the cluster, with the ROWS scheduled."""
    for node in cluster.clients:
        node.flushall()
    with connect(cluster.url, "test") as client:
        for part, row_ids in TABLE.divide(ROWS):
            Schedule(client, part).put_rows(dict.fromkeys(row_ids, (10.0, 0.0)))
        yield client


def count_rows(client):
    pipeline = client.pipeline(transaction=False)
    for part in TABLE.parts:
        pipeline.zcard(part.keys.schedule)
    return pipeline.execute()


def test_parts_lie_evenly_and_are_read_in_one_pipeline(cluster, servers):
    assert sum(count_rows(servers)) == len(ROWS)
    assert {cluster.owner(part.keys.schedule) for part in TABLE.parts} == {0, 1, 2}
    pipeline = servers.pipeline(transaction=False)
    for part in TABLE.parts:
        pipeline.zrange(part.keys.schedule, 0, 0, withscores=True)
        pipeline.time()
    replies = pipeline.execute()
    for ((_, due),), (seconds, _) in zip(replies[::2], replies[1::2], strict=True):
        assert abs(due - seconds) < 60
    part, row_ids = next(iter(TABLE.divide(ROWS)))
    assert [row.delay for row in read_row_states(servers, part, row_ids)] == [10.0] * len(row_ids)


def test_wakes_that_nobody_takes_do_not_pile_up(servers):
    for _ in range(3):
        Schedule(servers, TABLE).put_rows(dict.fromkeys(ROWS[:3], (10.0, 0.0)))
        Schedule(servers, TABLE).touch_rows(ROWS[:3])
    assert servers.llen("home:") == 4


def test_a_command_follows_a_slot_that_has_moved(cluster, servers):
    part = TABLE.parts[0]
    slot, source = slot_of(part.keys.schedule), cluster.owner(part.keys.schedule)
    target = (source + 1) % 3
    servers.set(part.keys.value("a"), b"{}")
    before = count_rows(servers)
    cluster.begin_move(slot, source, target)
    cluster.move_keys(slot, source, target, 1)
    with pytest.raises(redis.exceptions.TryAgainError):
        Schedule(servers, part).claim_rows(10, 30)
    pipeline = servers.pipeline(transaction=False)
    pipeline.mget(part.keys.value("a"), part.keys.value("b"))
    pipeline.zcard(part.keys.schedule)
    assert pipeline.execute() == [[b"{}", None], before[0]]
    assert servers.get(part.keys.value("a")) == b"{}"
    while cluster.move_keys(slot, source, target):
        pass
    with pytest.raises(redis.exceptions.NoScriptError):  # an error of the new node is no reply
        servers.evalsha("0" * 40, 1, part.keys.schedule)
    cluster.end_move(slot, target)
    assert count_rows(servers) == before
    claim, _ = Schedule(servers, part).claim_rows(100, 30)
    assert len(claim.row_ids) == before[0]
    assert {node.name for node in servers.asked_nodes()} == {f"redis://127.0.0.1:{port}/" for port in cluster.ports}
    cluster.move(slot, target, source)
    with open_exchange(servers) as exchange:
        calls = Schedule(servers, part).commit_calls(claim, dict.fromkeys(claim.row_ids, b'{"id": 1}'))
        (reply,) = [exchange.send([call.command]) for call in calls]
        exchange.read()
    assert reply == [[before[0], 0, 0, 0]]


def test_parts_of_a_slot_that_no_node_serves_are_away_and_all_others_are_not(cluster):
    slot, source = slot_of(TABLE.parts[0].keys.schedule), cluster.owner(TABLE.parts[0].keys.schedule)
    for client in cluster.clients:
        client.execute_command("CLUSTER", "DELSLOTS", slot)
    try:
        with connect(cluster.url, "test") as client:
            with closing(NextDue(client, TABLE.parts)) as next_due:
                found = next_due.read()
            assert [due == -math.inf for due in found.values()] == [True] + [False] * 7
            *_, (node, parts) = sorted(by_node(client, TABLE.parts), key=lambda each: bool(each[0].away))
            assert (node.name, parts) == ("slots without a node", [TABLE.parts[0]])
            with pytest.raises(NodeAwayError, match=f"no node of the cluster serves slot {slot}"), node:
                pass
            assert [*read_tables(client, [TABLE], 30).away] == ["slots without a node"]
    finally:
        cluster.clients[source].execute_command("CLUSTER", "ADDSLOTS", slot)
        wait_until(lambda: all(map(cluster.is_ready, cluster.clients)), "the slot is served again")


def test_a_look_keeps_no_connection_to_a_node_that_serves_no_part_any_more(cluster):
    parts = [part for part in TABLE.parts if cluster.owner(part.keys.schedule) == 2]

    def connections():
        return [each["name"] for each in cluster.clients[2].client_list()].count("rowcache-looking")

    with connect(cluster.url, "looking") as client, closing(NextDue(client, TABLE.parts)) as next_due:
        next_due.read()
        assert connections() == 1
        for part in parts:
            cluster.move(slot_of(part.tag), 2, 0)
        try:
            for part in parts:
                client._slots[slot_of(part.tag)] = client.nodes()[0]  # as after a claim that was refused
            next_due.read()
            wait_until(lambda: not connections(), "the connection is closed")
        finally:
            for part in parts:
                cluster.move(slot_of(part.tag), 0, 2)


def test_a_change_waits_for_the_replicas_of_the_server_that_its_slot_has_moved_to(cluster, servers):
    part, row_ids = next(iter(TABLE.divide(ROWS)))
    slot, source = slot_of(part.keys.schedule), cluster.owner(part.keys.schedule)
    target = (source + 1) % 3
    cluster.move(slot, source, target)
    cluster.clients[target].config_resetstat()
    with pytest.raises(NotReplicatedError):
        Schedule(servers, replace(part, replicas=1)).put_rows({row_ids[0]: (20.0, 0.0)})
    assert cluster.clients[target].info("commandstats")["cmdstat_wait"]["calls"] == 1
    cluster.move(slot, target, source)


def test_a_server_that_is_away_costs_its_parts_alone_and_time_once():
    with Valkey() as one, Valkey() as two, connect(f"{one.url} {two.url}", "test") as client:
        for part, row_ids in TABLE.divide(ROWS):
            Schedule(client, part).put_rows(dict.fromkeys(row_ids, (10.0, 0.0)))
        first, second = (redis.Redis.from_url(server.url) for server in (one, two))
        assert len(first.keys("schedule:*")) == len(second.keys("schedule:*")) == 4
        os.kill(two.pid, signal.SIGSTOP)
        try:
            counts = count_rows_or_errors(client)
            assert [isinstance(count, int) for count in counts] == [True] * 4 + [False] * 4
            started = time.monotonic()
            for _ in range(3):
                assert isinstance(count_rows_or_errors(client)[7], NodeAwayError)
            with pytest.raises(NodeAwayError, match="is away"):
                client.zcard(TABLE.parts[7].keys.schedule)
            assert client.time()
            assert time.monotonic() - started < 3 * NODE_TIMEOUT_S, "seven commands"
        finally:
            os.kill(two.pid, signal.SIGCONT)
        wait_until(lambda: sum(map(is_number, count_rows_or_errors(client))) == 8, "the server is back")


def test_commands_to_servers_that_are_all_away_are_an_outage():
    """A worker then tries the batch again, in place of leaving its rows to their lease."""
    keys = [TABLE.parts[number].keys.schedule for number in (0, 7)]
    with Valkey() as one, Valkey() as two, connect(f"{one.url} {two.url}", "test") as client:
        for lost in (two, one):
            lost.kill()
            with open_exchange(client) as exchange:
                replies = [exchange.send([("ZCARD", key)]) for key in keys]
                if lost is two:
                    exchange.read()
                    assert replies == [[0], []]
                else:
                    with pytest.raises(NodeAwayError):
                        exchange.read()


def test_a_server_that_was_away_is_asked_after_a_while_without_commands(monkeypatch):
    key = TABLE.parts[7].keys.schedule
    with Valkey() as one, Valkey() as two, connect(f"{one.url} {two.url}", "test") as client:
        assert client.zcard(key) == 0
        os.kill(two.pid, signal.SIGSTOP)
        try:
            with pytest.raises(NodeAwayError):
                client.zcard(key)
            wait_until(lambda: not [each for each in threading.enumerate() if each.name == "rowcache-servers"], "check")
        finally:
            os.kill(two.pid, signal.SIGCONT)
        with pytest.raises(NodeAwayError):
            client.zcard(key)
        monkeypatch.setattr("rowcache_tasks.schedule.node.UNASKED_S", 0.0)
        client.node_of(key).away = "in the last outage"
        assert client.zcard(key) == 0


def test_one_thread_at_a_time_asks_the_servers_that_are_away(monkeypatch):
    monkeypatch.setattr("rowcache_tasks.schedule.slot_map.CHECK_S", 0.0)
    with Valkey() as one, Valkey() as two, connect(f"{one.url} {two.url}", "test") as client:
        os.kill(two.pid, signal.SIGSTOP)
        try:
            asking = []
            for _ in range(20):
                with pytest.raises(NodeAwayError):
                    client.zcard(TABLE.parts[7].keys.schedule)
                asking.append(len([each for each in threading.enumerate() if each.name == "rowcache-servers"]))
        finally:
            os.kill(two.pid, signal.SIGCONT)
        assert max(asking) == 1


def test_no_task_is_left_when_a_reader_is_closed_while_a_server_is_away():
    async def read(url):
        reader = AsyncRowCache("inv", url=url, namespace="", partitions=8)
        with pytest.raises(CacheError):
            await reader.get_many(ROWS)
        tasks = [len(asyncio.all_tasks())]
        await reader.close()
        return [*tasks, len(asyncio.all_tasks())]

    with Valkey() as one, Valkey() as two:
        os.kill(two.pid, signal.SIGSTOP)
        try:
            assert asyncio.run(read(f"{one.url} {two.url}")) == [2, 1]
        finally:
            os.kill(two.pid, signal.SIGCONT)


def test_a_process_that_ends_while_a_server_is_away_meets_no_other_error():
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("NodeAwayError\n" * 2, "", 0)


def test_a_node_that_serves_no_cluster_is_not_believed(cluster, servers):
    alone = Valkey(args=("--port", str(free_port()), "--cluster-port", str(free_port()), "--cluster-enabled", "yes"))
    with alone:
        url = f"redis+cluster://127.0.0.1:{alone._args[1]},127.0.0.1:{cluster.ports[0]}/"
        with connect(url, "test") as client:
            assert sum(count_rows(client)) == len(ROWS)
        for kind in READER_KINDS.values():
            reader = kind("inv", url=url, namespace="", partitions=8)
            assert reader.get_many(ROWS) == dict.fromkeys(ROWS)
            reader.end()
        url = f"redis+cluster://127.0.0.1:{alone._args[1]}/"
        with connect(url, "test") as client, pytest.raises(redis.ConnectionError, match=r"no node of a cluster that "):
            client.get("a")


def test_a_node_that_has_left_the_cluster_is_asked_no_more(cluster):
    with connect(cluster.url, "test") as client:
        (first, *_) = client.nodes()
        gone = client.node_at("127.0.0.1", free_port(), first)
        for node in (gone, first):
            node.away = "test"
        run_blocking(client.check())
        assert gone not in client.asked_nodes()
        assert first in client.asked_nodes()
        assert first.away == ""


def count_rows_or_errors(client):
    pipeline = client.pipeline(transaction=False)
    for part in TABLE.parts:
        pipeline.zcard(part.keys.schedule)
    return pipeline.execute(raise_on_error=False)


def is_number(value):
    return isinstance(value, int)


def test_a_provider_of_credentials_is_loaded_once_for_all_nodes_and_logs_in_at_each(cluster, servers, monkeypatch):
    for node in cluster.clients:
        node.execute_command("ACL", "SETUSER", "rotating", *login.RULES)
    url = f"redis+cluster://127.0.0.1:{cluster.ports[0]}/?credential_provider={login.NAME}"
    with connect(url, "test") as client:
        monkeypatch.setattr(login.Login, "__init__", lambda _: pytest.fail("loaded again"))
        assert sum(count_rows(client)) == len(ROWS)
        found = []
        for node in client.nodes():
            with node as each:
                found.append(each.execute_command("ACL", "WHOAMI"))
        assert found == [b"rotating"] * 3
    for name, kind in READER_KINDS.items():
        for near in (0, 100):
            reader = kind("inv", url=url, namespace="", partitions=8, near=near)
            assert reader.get_many(ROWS) == dict.fromkeys(ROWS), name
            reader.end()
