"""Positions at which rows were read from a database with replicas."""

import math

import pytest
from proof.interleaving.mutant import mutate

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.dialects.postgresql.connection import position_of
from rowcache_tasks.errors import ArgumentError, SourceError
from rowcache_tasks.schedule import position
from rowcache_tasks.schedule.position import ReadPosition, check_positions, need_position, number_of, parse_position
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.script import Script
from rowcache_tasks.schedule.scripts import read_source

TABLE = Table("inv", "inventory", replica=True)
COMMIT = "0/3E8"
AT = number_of(COMMIT) - 24
KEPT_S = 600


def now_of(client):
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6


@pytest.fixture
def read(client, schedule):
    """Function that claims the rows `1` and `2`, and checks them as read at a position; returns those to commit."""
    schedule.put_rows({"1": (100, 0), "2": (100, 0)})

    def read(low, high=None, between=lambda: None):
        client.zadd("schedule:", {"1": 0, "2": 0})
        claim, _ = schedule.claim_rows(10, 30)
        between()
        reply = check_positions(TABLE, claim.row_ids, ReadPosition(low, high or low), claim.lease_until).run(client)
        client.delete("queue:")
        return [row_id for row_id, is_reached in zip(claim.row_ids, reply, strict=True) if is_reached]

    return read


@pytest.fixture(params=["", "read-early", "overrule", "forget-reads", "wait-for-ever"])
def mark(request, monkeypatch):
    """Each check of the script is removed in turn; "" for none."""
    if request.param:
        source = mutate(read_source("check_positions"))[request.param]
        monkeypatch.setattr(position, "load_script", lambda _: Script(source))
    return request.param


def history(client, read):
    """Yield whether each thing is as it must be, with the mark without which it is not."""
    need_position(client, TABLE, ["1"], COMMIT)
    yield "read-early", read(AT - 1) == ["2"]
    due = client.zscore("schedule:", "1")
    yield "", 0 < due - now_of(client) < 1
    read(AT - 1, between=lambda: client.zadd("schedule:", {"1": 0}))
    yield "overrule", client.zscore("schedule:", "1") == 0
    yield "", read(AT, AT + 10) == ["1", "2"]
    yield "forget-reads", read(AT + 9) == []
    yield "", read(AT + 10) == ["1", "2"]
    yield "", read(math.inf, AT + 50) == ["1", "2"]
    yield "forget-reads", read(AT + 49) == []
    client.hset("state:", "behind_at", now_of(client) - KEPT_S - 1)
    yield "wait-for-ever", read(AT) == ["1", "2"]


def test_value_that_was_read_too_early_is_not_committed_and_each_check_is_needed(client, read, mark):
    wrong = {needed for needed, is_right in history(client, read) if not is_right}
    assert wrong >= {mark} - {""}
    assert mark or not wrong


def test_replica_is_not_read_while_it_is_further_behind_than_positions_are_kept(client, read):
    for _ in range(2):
        read(math.inf, AT)
        client.hset("state:", "reached_at", now_of(client) - KEPT_S - 1)
    read(math.inf, AT + 100)
    assert client.hget("state:", "passed") == b"%d" % AT
    client.delete("position:")
    assert read(AT - 1) == []
    assert read(AT) == ["1", "2"]


def test_positions_that_all_rows_need_are_forgotten(client, read):
    need_position(client, TABLE, [f"old {n}" for n in range(300)], COMMIT)
    client.hset("state:", mapping={"reached_at": now_of(client) - KEPT_S - 1, "reached": AT})
    for _ in range(3):
        read(AT + 100)
    assert client.zrange("position:", 0, -1) == [b"1", b"2"]


def test_replica_that_stays_behind_is_read_more_and_more_seldom(client, read):
    need_position(client, TABLE, ["1"], COMMIT)
    read(AT - 1)
    client.hset("state:", "behind_at", now_of(client) - 10)
    read(AT - 1)
    assert client.zscore("schedule:", "1") - now_of(client) == pytest.approx(5, abs=4)


def test_clock_that_steps_back_keeps_no_row_waiting_and_state_of_another_type_does_no_harm(client, read):
    need_position(client, TABLE, ["1"], COMMIT)
    client.hset("state:", mapping={"behind_at": now_of(client) + 5000, "behind": "?", "reached_at": "?", "passed": "?"})
    assert read(AT - 1) == ["2"]
    assert client.zscore("schedule:", "1") - now_of(client) < 1


def test_position_is_needed_by_tables_with_replicas_only(client):
    need_position(client, Table("inv", "inventory"), ["1"], COMMIT)
    need_position(client, TABLE, ["1"], "")
    assert not client.exists("position:")
    need_position(client, TABLE, ["1"], "1/0")
    need_position(client, TABLE, ["1"], COMMIT)
    assert client.zscore("position:", "1") == 2**32 - 24


@pytest.mark.parametrize("wrong", ["42", "0/", "0/XYZ", 42, "0/1 ", "0/123456789"])
def test_position_that_is_none_of_postgresql_is_refused(wrong):
    with pytest.raises(ArgumentError, match="position is"):
        parse_position(wrong)


@pytest.mark.parametrize("answers", [((True, None), (True, "0/1")), ((True, "0/1"), (True, None))])
def test_replica_without_a_position_is_named_as_the_cause(answers):
    with pytest.raises(SourceError, match="names no position in the log"):
        position_of(*answers)


def test_rows_of_a_part_need_positions_in_the_keys_of_the_part(client):
    table = Table("users", "users", namespace="users", partitions=2, replica=True)
    need_position(client, table, map(str, range(10)), COMMIT)
    assert {key.decode() for key in client.keys("position:*")} == {part.keys.position for part in table.parts}
    assert Schedule(client, table.parts[0]).table.replica
