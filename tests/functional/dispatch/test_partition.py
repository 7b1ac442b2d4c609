"""Tables with partitions: claims, messages and commits of many parts, on one server and on a cluster."""

import sqlite3
import time
from contextlib import closing

import pytest
from support.cluster import Cluster
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.dispatch.backpressure import Limits
from rowcache_tasks.dispatch.dispatcher import Dispatcher
from rowcache_tasks.dispatch.sent_batches import SentBatches
from rowcache_tasks.dispatch.wakeup import Wakeup
from rowcache_tasks.keys import slot_of
from rowcache_tasks.schedule.claim import from_messages, to_messages
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.position import ReadPosition
from rowcache_tasks.schedule.row_state import read_row_states
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.schedule.servers import open_exchange
from rowcache_tasks.schedule.table import TableState
from rowcache_tasks.worker.part import row_ids_of
from rowcache_tasks.worker.refresh import refresh_claims
from rowcache_tasks.worker.replica import leave_early

TABLE = Table("inv", "inventory", partitions=8)
ROWS = [str(number) for number in range(60)]


class Broker:
    def __init__(self):
        self.messages = []
        self.length = 0
        self.error = None

    def send(self, table, claims):
        if self.error:
            raise self.error
        self.messages.append(claims)

    def queue_length(self):
        return self.length

    @property
    def rows(self):
        return sorted((row_id for claims in self.messages for claim in claims for row_id in claim.row_ids), key=int)


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3) as nodes:
        yield nodes


@pytest.fixture(params=["one server", "cluster"])
def divided(request, client):
    """Client of one server, and of a cluster."""
    if request.param == "one server":
        yield client
        return
    cluster = request.getfixturevalue("cluster")
    for node in cluster.clients:
        node.flushall()
    with connect(cluster.url, "test") as servers:
        yield servers


@pytest.fixture
def dispatcher_of():
    opened = []

    def build(client, broker, **limits):
        schedules = [Schedule(client, part) for part in TABLE.parts]
        opened.append(Dispatcher(client, schedules, broker, Limits(**limits)))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


def ages(client):
    return {row.row_id: row.age for part, some in TABLE.divide(ROWS) for row in read_row_states(client, part, some)}


def test_claims_of_all_parts_share_messages_and_each_is_committed_to_its_part(divided, dispatcher_of):
    schedule, broker = Schedule(divided, TABLE), Broker()
    seconds, _ = divided.time()
    assert schedule.put_rows(dict.fromkeys(ROWS, (10.0, 0.0)), f"{seconds - 10}.1").applied == len(ROWS)
    dispatcher = dispatcher_of(divided, broker, batch_size=30)
    dispatcher.run_once()
    assert broker.rows == sorted(ROWS, key=int)
    assert len(broker.messages) == 1
    for claims in broker.messages:
        row_ids, arguments = to_messages(claims)
        sent = from_messages(row_ids, arguments["claim"], arguments.get("more", ()))
        with open_exchange(divided) as exchange:
            for claim in sent:
                part = schedule.parts[claim.namespace]
                keys = part.table.keys
                assert SentBatches(divided, keys.queue, keys.state).start([claim], exchange) == [claim]
                for call in part.commit_calls(claim, dict.fromkeys(claim.row_ids, b'{"id": 1}')):
                    exchange.send([call.command])
            exchange.read()
    assert all(age is not None for age in ages(divided).values())
    assert [divided.zcard(part.keys.queue) for part in TABLE.parts] == [0] * 8
    assert schedule.drop_rows(ROWS[:5], f"{seconds - 10}.3").applied == 5
    assert TableState(divided, TABLE).count_rows() == 55
    assert schedule.put_rows(dict.fromkeys(ROWS[:5], (10.0, 0.0)), f"{seconds - 10}.2").ignored == 5


def test_claims_of_parts_grow_to_a_batch_while_they_are_full(client, dispatcher_of):
    rows = [str(number) for number in range(5000)]
    Schedule(client, TABLE).put_rows(dict.fromkeys(rows, (1000.0, 0.0)))
    broker = Broker()
    dispatcher = dispatcher_of(client, broker, batch_size=200)
    for _ in range(4):
        dispatcher.run_once()
    assert [max(len(claim.row_ids) for claim in claims) for claims in broker.messages[:1]] == [32]
    assert max(len(claim.row_ids) for claims in broker.messages for claim in claims) == 200
    assert max(sum(len(claim.row_ids) for claim in claims) for claims in broker.messages) <= 1024
    assert len(broker.rows) == len(set(broker.rows))


def test_rows_of_a_message_that_is_not_sent_are_due_at_once(divided, dispatcher_of):
    schedule, broker = Schedule(divided, TABLE), Broker()
    schedule.put_rows(dict.fromkeys(ROWS, (10.0, 0.0)))
    dispatcher = dispatcher_of(divided, broker, batch_size=30)
    broker.error = OSError("away")
    with pytest.raises(OSError, match="away"):
        dispatcher.run_once()
    assert [divided.zcard(part.keys.queue) for part in TABLE.parts] == [0] * 8
    broker.error = None
    dispatcher.run_once()
    assert broker.rows == sorted(ROWS, key=int)


def test_rows_of_a_server_that_is_away_when_their_message_fails_hold_up_no_others(dispatcher_of):
    with Valkey() as one, Valkey() as two, connect(f"{one.url} {two.url}", "test") as client:
        Schedule(client, TABLE).put_rows(dict.fromkeys(ROWS, (10.0, 0.0)))
        broker = Broker()
        dispatcher = dispatcher_of(client, broker, lease_s=600)
        broker.send = lambda *_: two.kill() or fail()
        with pytest.raises(OSError, match="the broker is away"):
            dispatcher.run_once()
        del broker.send
        dispatcher._due_at = dict.fromkeys(dispatcher._due_at, 0.0)
        dispatcher.run_once()
        assert set(broker.rows) == {row_id for row_id in ROWS if TABLE.part_of(row_id) in TABLE.parts[:4]}


def fail():
    raise OSError("the broker is away")


def test_a_dispatcher_is_woken_after_the_slot_of_its_wake_list_has_moved(cluster):
    slot, source = slot_of("home:"), cluster.owner("home:")
    target = (source + 1) % 3
    cluster.clients[source].delete("home:")
    with connect(cluster.url, "test") as client, closing(Wakeup(client, ["home:"])) as wakeup:
        assert wakeup.wait(0.01) is None
        cluster.move(slot, source, target)
        try:
            cluster.clients[target].rpush("home:", 1)
            wait_until(lambda: wakeup.wait(0.1) == "home:", "it is woken")
        finally:
            cluster.move(slot, target, source)


def test_a_change_wakes_a_dispatcher_that_sleeps(divided, dispatcher_of):
    broker = Broker()
    dispatcher = dispatcher_of(divided, broker, poll_interval_s=100.0)
    dispatcher.run_once()
    dispatcher.run(time.monotonic() + 0.01)
    Schedule(divided, TABLE).put_rows({"7": (10.0, 0.0)})
    wait_until(lambda: dispatcher.run(time.monotonic() + 0.02) or broker.rows, "the row is sent")
    assert broker.rows == ["7"]


def test_a_batch_left_over_stops_its_part_alone_and_until_a_later_one_starts(divided, dispatcher_of):
    """A worker was killed with a message of one part; the queue is never empty."""
    schedule, broker = Schedule(divided, TABLE), Broker()
    broker.length = 1
    first, beside = TABLE.parts[:2]
    schedule.put_rows(dict.fromkeys(ROWS, (10.0, 0.0)))
    seconds, _ = divided.time()
    divided.zadd(first.keys.queue, {"left over": seconds - 20})
    dispatcher = dispatcher_of(divided, broker, batch_size=100)
    dispatcher.run_once()
    of_first = dict(TABLE.divide(ROWS))[first]
    assert set(broker.rows) == {*ROWS} - {*of_first}
    dispatcher.run_once()
    assert divided.zcard(first.keys.queue) == 1
    divided.hset(beside.keys.state, "started", f"{seconds}.5")
    dispatcher._due_at = dict.fromkeys(dispatcher._due_at, 0.0)
    dispatcher.run_once()
    dispatcher._due_at = dict.fromkeys(dispatcher._due_at, 0.0)
    dispatcher.run_once()
    assert {*broker.rows} == {*ROWS}


def test_rows_of_a_slot_that_moves_before_their_commit_wait_for_their_lease_and_no_others_do(cluster, tmp_path):
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE inventory (id INTEGER PRIMARY KEY)")
        database.executemany("INSERT INTO inventory VALUES (?)", [(row_id,) for row_id in ROWS])
    database.close()
    engine = create_source_engine(f"sqlite:///{tmp_path}/shop.db", statement_timeout_s=5)
    for node in cluster.clients:
        node.flushall()
    with connect(cluster.url, "test") as client:
        schedule = Schedule(client, TABLE)
        schedule.put_rows(dict.fromkeys([*ROWS, "900", "no key"], (10.0, 0.0)))
        claims = [part.claim_rows(100, 30)[0] for part in schedule.parts.values()]
        part, moving = TABLE.divide(ROWS)[0]
        slot, source = slot_of(part.tag), cluster.owner(part.keys.schedule)
        cluster.begin_move(slot, source, (source + 1) % 3)
        cluster.move_keys(slot, source, (source + 1) % 3, 1)
        with open_exchange(client) as exchange:
            early = leave_early(schedule, claims, [], [ReadPosition(1, 1)], exchange)
            assert row_ids_of(early) == [row_id for row_id in row_ids_of(claims) if row_id not in moving]
            counts = refresh_claims(schedule, Source(engine, TABLE), claims, Backoff(), exchange)
        assert counts["refreshed"] == len(ROWS) - len(moving)
        while cluster.move_keys(slot, source, (source + 1) % 3):
            pass
        cluster.end_move(slot, (source + 1) % 3)
        assert {row_id for row_id, age in ages(client).items() if age is None} == {*moving}
    engine.dispose()


def test_a_part_whose_slot_moves_holds_up_no_other(cluster, dispatcher_of):
    for node in cluster.clients:
        node.flushall()
    with connect(cluster.url, "test") as client:
        Schedule(client, TABLE).put_rows(dict.fromkeys(ROWS, (10.0, 0.0)))
        part = TABLE.parts[3]
        slot, source = slot_of(part.tag), cluster.owner(part.keys.schedule)
        broker = Broker()
        dispatcher = dispatcher_of(client, broker)
        cluster.begin_move(slot, source, (source + 1) % 3)
        dispatcher.run_once()
        moving = dict(TABLE.divide(ROWS))[part]
        assert {*broker.rows} == {*ROWS} - {*moving}
        while cluster.move_keys(slot, source, (source + 1) % 3):
            pass
        cluster.end_move(slot, (source + 1) % 3)
        for _ in range(2):  # the first finds the new node
            dispatcher._due_at = dict.fromkeys(dispatcher._due_at, 0.0)
            dispatcher.run_once()
        assert {*broker.rows} == {*ROWS}
