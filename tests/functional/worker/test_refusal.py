"""A commit that Redis refuses: the rows of that call fail with its reason, all others are committed."""

import json

import pytest
import redis
from support.deployment import with_login

from demo.servers import Valkey
from rowcache_tasks.config import table
from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.worker import refusal, warning
from rowcache_tasks.worker.refresh import refresh_claim, refresh_claims

KEYS = ("schedule:*", "delay:*", "refreshed:*", "changed:*", "failures:*", "wake:*", "state:*", "stats:*", "expiring:*")
NOTES = ("queue:*", "notes:*", "outcomes:*", "asked:*")


@pytest.fixture
def source(sqlite):
    sqlite.run("CREATE TABLE inventory (id INTEGER PRIMARY KEY, name TEXT)")
    sqlite.run(*(f"INSERT INTO inventory VALUES ({n}, 'item')" for n in range(1, 10)))
    engine = create_source_engine(sqlite.url, statement_timeout_s=5)
    yield Source(engine, Table("inv", "inventory"))
    engine.dispose()


@pytest.fixture
def narrow(client, valkey, monkeypatch):
    """Schedule of a login that may use all commands but some, on some keys."""
    monkeypatch.setattr(warning, "INTERVAL_S", 0)
    refusal.NOTE.pack_into(refusal._noted, 0, 0.0, 0, b"")
    opened = []

    def narrow(*keys, without=()):
        rules = {"enabled": True, "passwords": "+word", "keys": [*keys], "reset": True}
        client.acl_setuser("narrow", commands=["+@all", *(f"-{name}" for name in without)], **rules)
        opened.append(connect(with_login(valkey.url_for(9), "narrow", "word"), "test"))
        return Schedule(opened[-1], Table("inv", "inventory"))

    yield narrow
    for each in opened:
        each.close()
    client.acl_deluser("narrow")


def claim(schedule, *row_ids):
    schedule.put_rows(dict.fromkeys(row_ids, (100, 0)))
    return schedule.claim_rows(100, 30)[0]


def errors(client):
    return {row_id.decode(): json.loads(record)["error"] for row_id, record in client.hgetall("failures:").items()}


def test_rows_whose_values_may_not_be_written_fail_with_the_reason(schedule, source, client, narrow, caplog):
    sent, reasons = claim(schedule, "1", "2", "77"), []
    worker = narrow(*KEYS, *NOTES)
    with worker.exchange() as exchange:
        counts = refresh_claims(worker, source, [sent], Backoff(), exchange, None, reasons)
    assert (counts["failed"], counts["superseded"]) == (3, 0)
    assert set(errors(client)) == {"1", "2", "77"}, "one of them is not in the database: its value may not be removed"
    for reason in (*errors(client).values(), *reasons):
        assert reason.startswith("Redis refuses the commit: ")
        assert "key" in reason
    assert "refused: 3 rows of inv are tried again later: Redis refuses the commit: " in caplog.text
    assert client.zscore("schedule:", "1") < float(sent.lease_until), "the pauses are those of any failure"
    assert refusal.read_refusal() == ""


def test_claim_that_may_not_be_released_either_raises(schedule, source, narrow):
    sent = claim(schedule, "1")
    with pytest.raises(redis.ResponseError, match="ACL"):
        refresh_claim(narrow(*KEYS, *NOTES, without=["zadd"]), source, sent, Backoff())


def test_script_that_is_refused_half_way_is_noted_for_the_worker(schedule, source, client, narrow):
    """It has written the value and ended the lease, so that no row can be released."""
    sent = claim(schedule, "1")
    client.hset("failures:", "2", "{}")  # so that failures are removed
    counts = refresh_claim(narrow(*KEYS, *NOTES, "inv:*", without=["hdel"]), source, sent, Backoff())
    assert (counts["refreshed"], counts["failed"], counts["superseded"]) == (0, 0, 1)
    assert refusal.read_refusal().startswith("Redis refuses the commit: ")
    refusal.forget_refusal("users")
    assert refusal.read_refusal(), "only a commit of the same table shows that it is mended"
    refresh_claim(schedule, source, claim(schedule, "2"), Backoff())
    assert refusal.read_refusal() == ""


@pytest.mark.parametrize("size", [1_100_000, 20_000_000])
def test_value_that_is_too_large_for_the_server_fails_alone(source, sqlite, size, monkeypatch):
    """The server closes the connection at it, with the calls of all other rows on their way."""
    monkeypatch.setattr(table, "AGE_ERROR_S", 60)  # a read of any duration is accepted
    sqlite.run(f"UPDATE inventory SET name = printf('%.{size}c', 'x') WHERE id IN (3, 5)")
    with Valkey(args=("--proto-max-bulk-len", "1mb")) as server, connect(server.url, "test") as client:
        schedule = Schedule(client, Table("inv", "inventory"))
        counts = refresh_claim(schedule, source, claim(schedule, *(f"{n}" for n in range(1, 10))), Backoff())
        assert (counts["refreshed"], counts["failed"]) == (7, 2)
        assert client.exists(*(f"inv:{n}" for n in range(1, 10))) == 7
        assert set(errors(client)) == {"3", "5"}
        assert all("Redis refuses the commit" in reason for reason in errors(client).values())
