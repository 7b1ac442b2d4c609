"""What a dispatcher looks at while it has nothing to do, and what it must not overlook."""

import math
import time
from urllib.parse import unquote, urlsplit

import pytest
from proof.chaos.proxy import Proxy
from support.waiting import wait_until

from rowcache_tasks.config.settings import Table
from rowcache_tasks.dispatch.backpressure import Limits
from rowcache_tasks.dispatch.dispatcher import Dispatcher
from rowcache_tasks.dispatch.next_due import NextDue
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

TABLES = [Table("inv", "inventory"), Table("note", "note", "note")]


class Broker:
    """Sends nothing anywhere."""

    def __init__(self):
        self.sent = []

    def send(self, table, claims):
        self.sent += [(table, claim.row_ids) for claim in claims]

    def queue_length(self):
        return 0


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
def build(client, broker):
    opened = []

    def build(limits):
        opened.append(Dispatcher(client, [Schedule(client, table) for table in TABLES], broker, limits))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


@pytest.fixture
def dispatcher(build):
    return build(Limits(batch_size=1, max_queue=10_000))


def look(client):
    next_due = NextDue(client, TABLES)
    try:
        return [*next_due.read().values()]
    finally:
        next_due.close()


def schedule_row(client, table, row_id, in_s):
    seconds, _ = client.time()
    client.zadd(table.keys.delay, {row_id: 3600})
    client.zadd(table.keys.schedule, {row_id: seconds + in_s})


@pytest.mark.parametrize("protocol", [2, 3])
def test_look_gives_how_long_until_the_first_row_of_each_table_is_due(client, valkey, protocol):
    path = unquote(urlsplit(valkey.url).path)
    database = client.connection_pool.connection_kwargs["db"]
    with connect(f"unix://{path}?db={database}&protocol={protocol}", "test") as other:
        assert look(other) == [math.inf, math.inf]
        schedule_row(client, TABLES[0], "1", 100)
        schedule_row(client, TABLES[0], "2", 50)
        schedule_row(client, TABLES[1], "1", -7)
        first, second = look(other)
        assert 0 < first <= 50
        assert second <= -7


def test_key_that_is_no_zset_is_left_to_the_claim(client):
    client.set(TABLES[0].keys.schedule, "of another program")
    assert look(client) == [-math.inf, math.inf]
    client.delete(TABLES[0].keys.schedule)
    assert look(client) == [math.inf, math.inf]


def test_look_connects_anew_after_its_connection_was_lost(client):
    next_due = NextDue(client, TABLES)
    for _ in range(3):
        assert [*next_due.read().values()] == [math.inf, math.inf]
        client.client_kill_filter(_type="normal", skipme=True)
    next_due.close()


def test_look_at_a_server_that_does_not_answer_ends(client, valkey):
    proxy = Proxy("test", unquote(urlsplit(valkey.url).path))
    proxy.start()
    with connect(f"redis://127.0.0.1:{proxy.port}/9?socket_timeout=2", "test") as proxied:
        assert look(proxied) == [math.inf, math.inf]
        proxy.hang()
        assert look(proxied) == [-math.inf, -math.inf]
        proxy.release()
        assert look(proxied) == [math.inf, math.inf]
    proxy.stop()


def test_idle_dispatcher_claims_nothing(client, dispatcher):
    for table in TABLES:
        schedule_row(client, table, "1", 3600)
    client.config_resetstat()
    for _ in range(5):
        assert dispatcher.run_once() > 0
    calls = client.info("commandstats")
    assert "cmdstat_evalsha" not in calls
    assert calls["cmdstat_zrange"]["calls"] == 5 * len(TABLES)


def test_only_the_table_that_has_due_rows_is_claimed_from(client, dispatcher, broker):
    Schedule(client, TABLES[0]).claim_rows(1, 30)  # loads the script
    schedule_row(client, TABLES[1], "1", -1)
    schedule_row(client, TABLES[0], "1", 3600)
    client.config_resetstat()
    dispatcher.run_once()
    assert broker.sent == [("note", ["1"])]
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1


def test_row_that_another_program_schedules_is_seen_while_another_table_is_always_busy(client, dispatcher, broker):
    seconds, _ = client.time()
    rows = {str(n): seconds - 1.0 for n in range(20_000)}
    client.zadd(TABLES[0].keys.delay, dict.fromkeys(rows, 3600))
    client.zadd(TABLES[0].keys.schedule, rows)
    dispatcher.run_once()
    schedule_row(client, TABLES[1], "1", -1)

    def is_sent():
        dispatcher.run_once()
        return ("note", ["1"]) in broker.sent

    wait_until(is_sent, "the row of the other table is sent")
    assert len(broker.sent) < len(rows), "the busy table was not done"


def test_woken_dispatcher_claims_without_a_look(client, build, broker, monkeypatch):
    dispatcher = build(Limits(poll_interval_s=100))
    wait_until(lambda: dispatcher.run(time.monotonic() + 0.01) or dispatcher._resume_at, "it has looked")
    Schedule(client, TABLES[1]).put_rows({"1": (3600, 0)})
    monkeypatch.setattr("rowcache_tasks.dispatch.dispatcher.NextDue.read", lambda _: pytest.fail("it looks"))
    wait_until(lambda: dispatcher.run(time.monotonic() + 0.01) or broker.sent, "the row is sent")
    assert broker.sent == [("note", ["1"])]
