"""The use case "refresh a claimed batch", on a real SQLite file and a real Valkey."""

import json
import os
import signal
import sqlite3
import time
from functools import partial

import pytest
from support.failover_pair import FailoverPair
from support.holding_link import HoldingLink
from support.lossy_link import LossyLink
from support.waiting import wait_until

from rowcache_tasks.config import table
from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.dispatch.sent_batches import SentBatches
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.worker import read_limit, refresh
from rowcache_tasks.worker.refresh import refresh_claim, refresh_claims, repeat_in_outage

BACKOFF = Backoff(base_s=1, max_s=60)


@pytest.fixture
def database(tmp_path):
    connection = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    connection.execute("CREATE TABLE inventory (id INTEGER PRIMARY KEY, price REAL)")
    connection.executemany("INSERT INTO inventory VALUES (?, ?)", [(n, n / 4) for n in range(1, 101)])
    yield connection
    connection.close()


@pytest.fixture
def source(database, tmp_path):
    engine = create_source_engine(f"sqlite:///{tmp_path}/shop.db", statement_timeout_s=5)
    yield Source(engine, Table("inv", "inventory"))
    engine.dispose()


def claim(schedule, row_ids):
    schedule.put_rows(dict.fromkeys(row_ids, (100, 0)))
    return schedule.claim_rows(1000, 30)[0]


def test_batch_is_read_encoded_and_committed(schedule, source, client):
    counts = refresh_claim(schedule, source, claim(schedule, ["1", "2"]), BACKOFF)
    assert counts == {"refreshed": 2, "unchanged": 0, "superseded": 0, "dropped": 0, "missing": 0, "failed": 0}
    assert json.loads(client.get("inv:2")) == {"id": 2, "price": 0.5}


def test_each_bad_row_is_dealt_with_by_itself(schedule, source, database, client):
    refresh_claim(schedule, source, claim(schedule, ["1", "2", "3"]), BACKOFF)
    database.execute("UPDATE inventory SET price = 9e999 WHERE id = 2")
    database.execute("DELETE FROM inventory WHERE id = 3")
    schedule.touch_rows(["1", "2", "3"])
    counts = refresh_claim(schedule, source, claim(schedule, ["1", "2", "3", "abc"]), BACKOFF)
    assert counts == {"refreshed": 0, "unchanged": 1, "superseded": 0, "dropped": 0, "missing": 1, "failed": 2}
    assert json.loads(client.get("inv:2")) == {"id": 2, "price": 0.5}, "the last good value stays"
    assert client.get("inv:3") is None
    failures = {row_id.decode(): json.loads(record)["error"] for row_id, record in client.hgetall("failures:").items()}
    assert "price" in failures["2"]
    assert "abc" in failures["abc"]
    assert failures["3"] == "no such row in the database"


def test_one_bad_row_costs_the_other_499_nothing(schedule, source, database):
    database.executemany("INSERT INTO inventory VALUES (?, ?)", [(n, n / 4) for n in range(101, 501)])
    database.execute("UPDATE inventory SET price = 9e999 WHERE id = 250")
    counts = refresh_claim(schedule, source, claim(schedule, [str(n) for n in range(1, 501)]), BACKOFF)
    assert (counts["refreshed"], counts["failed"]) == (499, 1)


def test_all_calls_of_a_batch_are_sent_before_the_first_reply_is_read(valkey, client, source, database):
    """Besides the SELECT, a full batch takes one round trip."""
    database.executemany("INSERT INTO inventory VALUES (?, ?)", [(n, n / 4) for n in range(101, 500)])
    database.execute("UPDATE inventory SET price = 9e999 WHERE id = 250")
    with HoldingLink(valkey) as link, connect(link.url, "test") as linked:
        batches, schedule = SentBatches(linked, "queue:"), Schedule(linked, Table("inv", "inventory"))
        for calls in (0, 5):  # at first, the server does not have the scripts, and the process not the time
            sent = claim(schedule, [str(n) for n in range(500)])
            link.hold(calls)
            with schedule.exchange() as exchange:
                live = batches.start([sent], exchange)
                counts = refresh_claims(
                    schedule, source, live, BACKOFF, exchange, lambda claim: float(claim.claimed_at)
                )
            assert (counts["refreshed"] + counts["unchanged"], counts["missing"], counts["failed"]) == (498, 1, 1)
    assert client.zcard("queue:") == 0


def test_batch_that_has_waited_is_read_before_the_first_reply(valkey, source, monkeypatch):
    """How long it has waited is asked for at the same time."""
    monkeypatch.setattr(read_limit, "read_s", {"": 0.0})
    fetch = source.fetch
    with HoldingLink(valkey) as link, connect(link.url, "test") as linked:
        source.fetch = lambda row_ids, positions=None: link.hold(0) or fetch(row_ids)
        schedule = Schedule(linked, Table("inv", "inventory"))
        for calls in (0, 1):  # at first, the process does not know of refusals
            sent = claim(schedule, ["1", "2"])
            link.hold(calls)
            counts = refresh_claim(schedule, source, sent, BACKOFF)
            assert counts["refreshed"] + counts["unchanged"] == 2


def test_reply_that_is_lost_changes_nothing(valkey, client, source):
    with LossyLink(valkey) as link, connect(link.url, "test") as linked:
        schedule = Schedule(linked, Table("inv", "inventory"))
        refresh_claim(schedule, source, claim(schedule, ["1", "2"]), BACKOFF)
        schedule.touch_rows(["1", "2"])
        sent = schedule.claim_rows(10, 30)[0]
        link.lose_next_reply()
        counts = refresh_claim(schedule, source, sent, BACKOFF)
    assert link.lost == 1
    assert counts["superseded"] == 2, "the call is run a second time"
    assert client.zscore("schedule:", "1") == pytest.approx(float(sent.claimed_at) + 100)
    assert client.zscore("refreshed:", "1") > float(sent.claimed_at)


def test_connection_with_replies_on_their_way_is_not_used_again(schedule, client):
    with schedule.exchange() as exchange:
        exchange.send([("BLPOP", "nothing", 0.5), ("ECHO", "2")])
    assert client.echo("still in step") == b"still in step"


class StoppedError(BaseException):
    """Raised by a signal."""


def test_connection_is_not_used_again_after_a_signal_between_two_replies(schedule, client, monkeypatch):
    def read_one(connection, read=client.connection_pool.connection_class.read_response):
        monkeypatch.setattr(connection, "read_response", stop)
        return read(connection)

    def stop():
        monkeypatch.undo()
        raise StoppedError

    with schedule.exchange() as exchange:
        exchange.send([("ECHO", "1"), ("BLPOP", "nothing", 0.5)])
        monkeypatch.setattr(exchange._connection, "read_response", partial(read_one, exchange._connection))
        with pytest.raises(StoppedError):
            exchange.read()
    assert client.echo("still in step") == b"still in step"


def test_health_check_takes_no_reply_of_another_command(schedule, client):
    client.config_resetstat()
    with schedule.exchange() as exchange:
        first = exchange.send([("ECHO", "1")])
        exchange._connection.next_health_check = 0  # it is due
        second = exchange.send([("ECHO", "2")])
        exchange.read()
    assert (first, second) == ([b"1"], [b"2"])
    assert client.info("commandstats")["cmdstat_echo"]["calls"] == 2


def test_held_commands_are_sent_in_one_piece_unless_they_are_large(valkey):
    """A time-out is for one piece: many megabytes on a slow way take longer."""
    pieces = []
    with connect(valkey.url_for(9), "test") as client:

        class Noted(client.connection_pool.connection_class):
            def send_packed_command(self, command, check_health=True):
                pieces.append([len(piece) for piece in command])
                super().send_packed_command(command, check_health)

        client.connection_pool.connection_class = Noted
        with Schedule(client, Table("inv", "inventory")).exchange() as exchange:
            for value in ("small" * 100, "large" * 20_000):
                with exchange.held():
                    replies = [exchange.send([("ECHO", value)]) for _ in range(30)]
                exchange.read()
                assert [reply.decode() for (reply,) in replies] == [value] * 30
                sizes = pieces.pop()
                assert len(sizes) == 1 if value.startswith("small") else max(sizes) < 2 * len(value)


def test_rows_of_a_select_are_no_more_than_their_size_allows(schedule, source, database, monkeypatch):
    """The claims of a message share a SELECT, as far as the mean size of their rows allows."""
    selects = []
    database_rows = source.fetch
    source.fetch = lambda row_ids, positions=None: selects.append(len(row_ids)) or database_rows(row_ids)
    claims = [claim(schedule, [str(n) for n in range(first, first + 30)]) for first in (1, 31, 61)]
    with schedule.exchange() as exchange:
        assert refresh_claims(schedule, source, claims, BACKOFF, exchange)["refreshed"] == 90
    monkeypatch.setattr(refresh, "READ_BYTES", 40 * refresh.mean_bytes[""])
    with schedule.exchange() as exchange:
        refresh_claims(schedule, source, claims, BACKOFF, exchange)
    assert selects == [90, 30, 30, 30]


def test_batch_that_cannot_be_read_is_released_with_backoff_and_keeps_its_values(schedule, source, database, client):
    refresh_claim(schedule, source, claim(schedule, ["1"]), BACKOFF)
    database.execute("ALTER TABLE inventory RENAME TO elsewhere")
    schedule.touch_rows(["1"])
    again = schedule.claim_rows(1000, 30)[0]
    counts = refresh_claim(schedule, source, again, BACKOFF)
    assert (counts["failed"], sum(counts.values())) == (1, 1)
    assert client.zscore("schedule:", "1") < float(again.lease_until) - 20
    assert json.loads(client.hget("failures:", "1"))["failures"] == 1
    assert client.get("inv:1") is not None


def test_rows_that_failed_often_are_due_within_a_lease_after_an_outage(schedule, source, database, client):
    """No row is at fault when the table cannot be read."""
    claimed = claim(schedule, ["1"])
    client.hset("failures:", "1", json.dumps({"failures": 30, "missing": 0, "error": "its own", "at": 0}))
    database.execute("ALTER TABLE inventory RENAME TO elsewhere")
    assert refresh_claim(schedule, source, claimed, Backoff(base_s=1, max_s=3600))["failed"] == 1
    assert client.zscore("schedule:", "1") <= float(claimed.lease_until) + 10


def test_one_cause_is_one_line_a_minute_however_many_batches_meet_it(schedule, source, database, caplog):
    database.execute("ALTER TABLE inventory RENAME TO elsewhere")
    for row_id in map(str, range(100)):
        assert refresh_claim(schedule, source, claim(schedule, [row_id]), BACKOFF)["failed"] >= 1
    assert len([record for record in caplog.records if "tried again later" in record.message]) <= 1


def test_rows_rescheduled_meanwhile_are_counted_as_superseded(schedule, source, client):
    first = claim(schedule, ["1", "abc"])
    schedule.touch_rows(["abc"])
    counts = refresh_claim(schedule, source, first, BACKOFF)
    assert (counts["refreshed"], counts["failed"], counts["superseded"]) == (1, 0, 1)


@pytest.mark.parametrize("read_s", [{}, {"": 0.0}], ids=["unknown before", "fast before"])
def test_slow_select_is_refused_and_then_accepted(schedule, source, client, monkeypatch, read_s):
    """At first it may be that the worker was stopped; not for ever, or the row would starve."""
    monkeypatch.setattr(table, "AGE_ERROR_S", 0.02)
    monkeypatch.setattr(read_limit, "read_s", read_s)
    monkeypatch.setattr(read_limit, "slow_s", {})
    fetch = source.fetch
    source.fetch = lambda row_ids, positions=None: time.sleep(0.1) or fetch(row_ids)  # a SELECT takes time
    schedule.put_rows({"1": (100, 0)})
    counts = [refresh_claim(schedule, source, schedule.claim_rows(1, 30)[0], BACKOFF)]
    assert counts[0]["superseded"] == 1
    while counts[-1]["superseded"] and len(counts) < 10:
        counts.append(refresh_claim(schedule, source, schedule.claim_rows(1, 30)[0], BACKOFF))
    assert counts[-1]["refreshed"] == 1
    assert int(client.hget("state:", "slow_ms")) >= 100
    assert float(client.hget("state:", "work_s")) >= 0.09, "the lease follows it"
    assert client.hget("state:", "slow_at") == client.hget("state:", "committed_at")
    source.fetch = fetch
    monkeypatch.setattr(table, "AGE_ERROR_S", 60)
    schedule.touch_rows(["1"])
    refresh_claim(schedule, source, schedule.claim_rows(1, 30)[0], BACKOFF)
    assert read_limit.slow_s[""] == {}, "a read in time ends it"


def test_slow_select_is_accepted_by_processes_that_are_replaced_after_each(schedule, source, client, monkeypatch):
    monkeypatch.setattr(table, "AGE_ERROR_S", 0.02)
    fetch = source.fetch
    source.fetch = lambda row_ids, positions=None: time.sleep(0.1) or fetch(row_ids)  # a SELECT takes time
    schedule.put_rows({"1": (100, 0)})
    counts = []
    while not counts or (counts[-1]["superseded"] and len(counts) < 5):
        monkeypatch.setattr(read_limit, "slow_s", {})  # of a new process
        counts.append(refresh_claim(schedule, source, schedule.claim_rows(1, 30)[0], BACKOFF))
    assert counts[0]["superseded"] == 1
    assert counts[-1]["refreshed"] == 1
    long_ago = client.time()[0] - read_limit.REFUSED_FOR_S - 1
    for refused_at, refused_ms in (("no time", "no number"), (long_ago, 1_000_000)):
        client.hset("state:", mapping={"refused_at": refused_at, "refused_ms": refused_ms})
        monkeypatch.setattr(read_limit, "slow_s", {})
        schedule.touch_rows(["1"])
        assert refresh_claim(schedule, source, schedule.claim_rows(1, 30)[0], BACKOFF)["superseded"] == 1


def test_read_that_redis_answers_late_began_no_later_than_it_was_asked(schedule, valkey, monkeypatch):
    monkeypatch.setattr(read_limit, "read_s", {"": 0.0})
    inv = Table("inv", "inventory")
    sent = claim(schedule, ["1"])
    with schedule.exchange() as exchange:
        os.kill(valkey.pid, signal.SIGSTOP)
        try:
            start = read_limit.start_read(exchange, inv, [sent], None, "schedule:")
            asked_at = time.time()
            time.sleep(0.1)  # a SELECT takes time
        finally:
            os.kill(valkey.pid, signal.SIGCONT)
        is_known = read_limit.settle_starts(exchange, inv, [start])
    assert start.at <= asked_at
    assert is_known or start.asked, "unless the machine is slow"


def test_rows_are_read_again_when_it_is_not_known_how_old_they_are(schedule, source, database, client, monkeypatch):
    monkeypatch.setattr(table, "AGE_ERROR_S", 0.2)
    monkeypatch.setattr(read_limit, "read_s", {"": 0.0})
    source.load()
    fetch, seen = source.fetch, []

    def fetch_slowly_once(row_ids, positions=None):
        seen.append(fetch(row_ids))
        if len(seen) == 1:
            time.sleep(0.15)  # a SELECT takes time
            database.execute("UPDATE inventory SET price = 7")
        return seen[-1]

    source.fetch = fetch_slowly_once
    counts = refresh_claim(schedule, source, claim(schedule, ["1"]), BACKOFF)
    assert (len(seen), counts["refreshed"] + counts["superseded"]) == (2, 1)
    assert counts["superseded"] or json.loads(client.get("inv:1"))["price"] == 7, "unless the machine is slow"


def test_slow_commit_is_refused_and_then_accepted(schedule, source, client, monkeypatch):
    """A server that always takes longer than the bound must not starve the rows."""
    monkeypatch.setattr(table, "AGE_ERROR_S", 0.1)
    monkeypatch.setattr(read_limit, "slow_s", {})
    fetch = source.fetch
    source.load()
    source.fetch = lambda row_ids, positions=None: client.client_pause(300, all=False) and fetch(row_ids)
    schedule.put_rows({"1": (100, 0)})
    counts = []
    while not counts or (counts[-1]["superseded"] and len(counts) < 5):
        counts.append(refresh_claim(schedule, source, schedule.claim_rows(1, 30)[0], BACKOFF))
    assert counts[0]["superseded"] == 1
    assert counts[-1]["refreshed"] == 1


def test_batch_in_a_worker_during_a_failover_is_committed_at_the_new_primary(source, database):
    with FailoverPair() as pair, connect(pair.url(), "test") as client:
        schedule = Schedule(client, Table("inv", "inventory"))
        sent = claim(schedule, ["1"])
        happens = [lambda: pair.demote(pair.primary), lambda: pair.switch(pair.replica)]

        def refresh():
            happens.pop(0)()
            database.execute("UPDATE inventory SET price = ?", [len(happens)])
            return refresh_claim(schedule, source, sent, BACKOFF)

        wait_until(lambda: pair.command(pair.replica, "ZCARD", "schedule:") == 1, "the claim is copied")
        pair.promote(pair.replica)
        assert repeat_in_outage(refresh, time.monotonic() + 30)["refreshed"] == 1
        assert json.loads(client.get("inv:1"))["price"] == 0, "it is read anew"
