"""Wrong data of a foreign client in our keys: nothing is lost, and no other table is affected."""

import json
import sqlite3
import time

import pytest
import redis
from support.hostile_values import EXAMPLES
from support.in_process_pipeline import KEYS, LEASE_S, TABLES, InProcessPipeline
from support.in_process_worker import in_process_worker

from rowcache_tasks import tasks

OURS = ("schedule", "delay", "refreshed", "changed", "failures", "state", "stats", "wake", "expiring")

WRONG = {
    "string": lambda client, key: client.set(key, "hostile\r\n\x1b[2J"),
    "list": lambda client, key: client.rpush(key, "hostile"),
    "hash": lambda client, key: client.hset(key, "hostile", "hostile"),
    "zset": lambda client, key: client.zadd(key, {"hostile": 1}),
}
RIGHT = {"failures": "hash", "state": "hash", "stats": "hash", "wake": "list", "expiring": "string"}


@pytest.fixture
def shop(client, valkey, monkeypatch, tmp_path):
    database = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    for table in ("inventory", "note"):
        database.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, stock INTEGER)")
        database.executemany(f"INSERT INTO {table} VALUES (?, 0)", [(n,) for n in range(1, 11)])
    url = f"sqlite:///{tmp_path}/shop.db"
    with in_process_worker(
        monkeypatch, tmp_path, valkey.url_for(9), database_url=url, tables=TABLES, lease=LEASE_S
    ) as runtime:
        shop = InProcessPipeline(client, runtime, database)
        yield shop
        shop.close()
    database.close()


@pytest.mark.parametrize("kind", list(WRONG))
@pytest.mark.parametrize("name", OURS)
def test_key_of_another_type_harms_only_its_table_and_only_until_it_is_mended(shop, client, name, kind, caplog):
    if RIGHT.get(name, "zset") == kind:
        return
    key = getattr(KEYS["inv"], name)
    before = client.dump(key)
    client.delete(key)
    WRONG[kind](client, key)
    shop.sell(1)
    shop.wait_for_stock("note", 1)
    shop.run(timeout_s=0.2)
    assert None not in shop.caches["inv"].get_many(["1", "2"]).values(), "the last values stay readable"
    for line in [*map(str, shop.errors), *(record.getMessage() for record in caplog.records)]:
        assert "\n" not in line
        assert len(line) < 1000

    client.delete(key)
    if before:
        client.restore(key, 0, before)
    shop.sell(2)
    shop.wait_for_stock("inv", 2)
    shop.wait_for_stock("note", 2)
    assert client.zrange("delay:", 0, -1) == [b"1", b"2"]


@pytest.mark.parametrize("kind", ["none", "string", "hash"])
def test_keys_of_explain_of_another_type_harm_nothing(shop, client, kind):
    for name in ("notes", "outcomes", "asked"):
        client.delete(f"{name}:")
        if kind != "none":
            WRONG[kind](client, f"{name}:")
    shop.schedule("inv", {"9": 1})
    shop.sell(1)
    shop.wait_for_stock("inv", 1)
    tasks.unschedule_row("inv", "9")
    assert shop.errors == []
    assert client.zrange("delay:", 0, -1) == [b"1", b"2"]


@pytest.mark.parametrize("kind", ["string", "list", "hash"])
def test_key_that_all_tables_share_stops_them_until_it_is_mended_and_loses_nothing(shop, client, kind):
    client.delete("queue:")
    WRONG[kind](client, "queue:")
    shop.sell(1)
    shop.run(timeout_s=0.2)
    assert None not in shop.caches["inv"].get_many(["1", "2"]).values(), "the last values stay readable"
    client.delete("queue:")
    shop.wait_for_stock("inv", 1)
    shop.wait_for_stock("note", 1)


SCORES = dict(zip("3456789", ["-inf", "+inf", "1e300", "-1e300", "5e-324", "0", "1e17"], strict=True)) | {
    "10": "-5e-324"
}
"""Row id -> score."""


def test_redis_itself_refuses_a_score_that_is_no_number(client):
    with pytest.raises(redis.ResponseError, match="not a valid float"):
        client.execute_command("ZADD", "schedule:", "nan", "1")


@pytest.mark.parametrize("name", ["schedule", "delay", "refreshed", "changed"])
def test_score_out_of_all_bounds_harms_no_other_row(shop, client, name):
    """Hostile rows may be refreshed again and again, never again, or dropped."""
    shop.schedule("inv", dict.fromkeys(SCORES, 100))
    for row_id, score in SCORES.items():
        client.execute_command("ZADD", getattr(KEYS["inv"], name), score, row_id)
        client.zadd("schedule:", {row_id: 1}, xx=name != "schedule")
        client.execute_command("ZADD", getattr(KEYS["inv"], name), score, row_id)
    shop.sell(1)
    shop.wait_for_stock("inv", 1)
    shop.wait_for_stock("note", 1)
    assert shop.errors == []
    shop.schedule("inv", dict.fromkeys(SCORES, 100))
    assert shop.run(lambda: stocks(shop, SCORES) == {1}), "they are mended by a put"


def stocks(shop, row_ids):
    return {row and row["stock"] for row in shop.caches["inv"].get_many(row_ids).values()}


@pytest.mark.parametrize("delay", ["1e-300", "5e-324", "1e-9"])
def test_row_with_next_to_no_delay_takes_turns_with_the_others(shop, client, delay):
    client.execute_command("ZADD", "delay:", delay, "2")
    shop.sell(1)
    shop.wait_for_stock("inv", 1)
    before = int(client.hget("stats:", "claimed"))
    shop.run(timeout_s=0.5)
    assert int(client.hget("stats:", "claimed")) - before < 2000
    shop.sell(2)
    shop.wait_for_stock("inv", 2)


RECORDS = [
    b"hostile",
    b"\xff\x00",
    b"[]",
    b"5",
    b'"x"',
    b"null",
    b"{}",
    b'{"failures": "many", "missing": {}}',
    b'{"failures": -1e308, "missing": -1e308}',
    b'{"failures": "nan", "missing": "nan"}',
    b'{"failures": "inf", "missing": "-inf"}',
    b'{"failures": 1e999, "missing": -1e999, "error": 5, "at": 1e999}',
    b'{"failures": 1e308, "missing": -5, "error": "\\u001b[2J\\nx", "at": "later"}',
    b'{"failures":' * 400 + b"1" + b"}" * 400,
    b"[" * 100_000,
    b"9" * 100_000,
    b"x" * 1_000_000,
    b'{"failures": 1, "error": "' + b"x" * 1_000_000 + b'", "at": 1}',
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: ascii(record[:30]))
def test_record_of_a_failure_that_is_garbage_holds_up_no_row(shop, client, record):
    """Of four rows that are refreshed together, 3 is not there and 4 cannot be read; both have a hostile record."""
    shop.database.execute("DELETE FROM inventory WHERE id = 3")
    shop.database.execute("UPDATE inventory SET stock = 9e999 WHERE id = 4")
    for row_id in ("1", "3", "4"):
        client.hset("failures:", row_id, record)
    client.zadd("delay:", {"3": 100, "4": 100})
    client.zadd("schedule:", {"1": 2, "2": 2, "3": 1, "4": 1})
    shop.database.execute("UPDATE inventory SET stock = 1 WHERE id IN (1, 2)")
    shop.wait_for_stock("inv", 1)
    assert shop.errors == []
    assert shop.run(lambda: b"failures" in (client.hget("failures:", "3") or b"") and hget(client, "4")["error"])
    assert hget(client, "3")["error"] == "no such row in the database"
    assert "stock" in hget(client, "4")["error"]
    assert not client.hexists("failures:", "1")
    for row_id in ("3", "4"):
        assert client.zscore("schedule:", row_id) > client.time()[0] - 1, "it is tried again later, not over and over"


def hget(client, row_id):
    return json.loads(client.hget("failures:", row_id))


STATS = {"refreshed": "many", "claimed": "9" * 30, "unchanged": "1.5", "failed": b"\xff", "late:0": "x"}


@pytest.mark.parametrize("field", list(STATS))
def test_counter_that_is_no_number_harms_only_its_table_and_only_until_it_is_mended(shop, client, field):
    client.hset("stats:", field, STATS[field])
    shop.sell(1)
    shop.wait_for_stock("note", 1)
    shop.run(timeout_s=0.2)
    client.hdel("stats:", field)
    shop.sell(2)
    shop.wait_for_stock("inv", 2)


def test_million_wake_ups_hold_nothing_up(shop, client):
    for _ in range(10):
        client.rpush("wake:", *["x"] * 100_000)
    shop.sell(1)
    started = time.monotonic()
    shop.wait_for_stock("inv", 1)
    shop.wait_for_stock("note", 1)
    assert time.monotonic() - started < 60


def test_flood_of_rows_without_a_delay_is_dropped_while_rows_are_served(shop, client):
    for start in range(0, 1_000_000 if EXAMPLES else 100_000, 100_000):
        client.zadd("schedule:", {f"hostile {n}": 1 for n in range(start, start + 100_000)})
    shop.sell(1)
    shop.wait_for_stock("note", 1)
    assert shop.run(lambda: client.zcard("schedule:") == 2, timeout_s=120), "they are dropped"
    shop.wait_for_stock("inv", 1)
