"""Hostile row ids in the schedule: each gets its own row, or fails alone and is recorded."""

import json
import uuid
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile_values import reproducible, texts
from support.scratch_database import ScratchDatabase
from support.waiting import wait_until

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.row_id import decode_row_id, encode_row_id, join_row_id, split_row_id
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.worker.refresh import refresh_claim

WORDS = [
    "a",
    "A",
    "é",
    "e\u0301",
    "*",
    "{}",
    "a,b",
    "100%",
    "1; DROP TABLE big",
    "' OR ''='",
    "\\",
    "NULL",
    "42",
    " 42",
]
JOB = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
SETUP = {
    "big": ("CREATE TABLE big (id bigint PRIMARY KEY)", [(0,), (42,), (-7,), (2**63 - 1,)]),
    "word": ("CREATE TABLE word (id text PRIMARY KEY)", [(word,) for word in WORDS]),
    "job": ("CREATE TABLE job (id uuid PRIMARY KEY)", [(JOB,)]),
    "money": ("CREATE TABLE money (id numeric PRIMARY KEY)", [("42",), ("1.50",), ("-0.001",)]),
    "seat": ("CREATE TABLE seat (hall text, n bigint, PRIMARY KEY (hall, n))", [("a,b", 1), ("%2C", 42), ("", -1)]),
}
IDS = {
    "big": ["0", "42", "-7", str(2**63 - 1), "042", "-0"],
    "word": WORDS,
    "job": [JOB],
    "money": ["42", "1.5", "1.500", "-0.001", "042"],
    "seat": ["a%2Cb,1", "%252C,42", ",-1", "%252C,042"],
}
"""Row ids that have a row."""

row_ids = st.one_of(
    texts,
    st.binary(min_size=1).map(decode_row_id),
    st.integers().map(str),
    st.floats().map(str),
    st.decimals().map(str),
    st.uuids().map(str),
    st.lists(texts, min_size=2, max_size=3).map(",".join),
).filter(lambda text: text and not any("\ud800" <= c < "\udc80" or "\udcff" < c <= "\udfff" for c in text))
"""Any bytes that a ZSET can hold."""


def names_row(kind, row_id, row):
    """Whether a row has the key of the row id, by rules independent of the package."""
    if kind == "big":
        return row["id"] == int(row_id)
    if kind == "money":
        return Decimal(row["id"]) == Decimal(row_id)
    if kind == "job":
        return uuid.UUID(row["id"]) == uuid.UUID(row_id)
    if kind == "seat":
        hall, n = split_row_id(row_id, 2)
        return (row["hall"], row["n"]) == (hall, int(n))
    return row["id"] == row_id


@pytest.fixture(scope="module", params=["pg", "sqlite"])
def sources(request, postgres, tmp_path_factory):
    if request.param == "pg":
        database = ScratchDatabase(postgres.create_database("fuzz_row_ids"))
    else:
        path = tmp_path_factory.mktemp("fuzz") / "shop.db"
        path.touch()
        database = ScratchDatabase(f"sqlite:///{path}")
    kinds = [kind for kind in SETUP if request.param == "pg" or kind != "money"]  # SQLite's numeric is a float
    for kind in kinds:
        statement, rows = SETUP[kind]
        database.run(statement)
        for row in rows:
            database.insert(kind, *row)
    yield {kind: database.source(kind) for kind in kinds}
    database.close()


def refresh(client, source, row_ids):
    """Schedule row ids as a foreign client does, and refresh them in one batch; again where the machine is slow."""
    wait_until(lambda: not refresh_once(client, source, row_ids)["superseded"], "the rows are refreshed in time")


def refresh_once(client, source, row_ids):
    client.flushdb()
    members = [encode_row_id(row_id) for row_id in row_ids]
    client.zadd("delay:", dict.fromkeys(members, 100))
    client.zadd("schedule:", dict.fromkeys(members, 1))
    schedule = Schedule(client, Table("inv", "fuzz"))
    claim, _ = schedule.claim_rows(1000, 30)
    assert sorted(claim.row_ids) == sorted(row_ids), "a row id comes back from Redis as it was"
    sent = json.loads(json.dumps([claim.row_ids, claim.to_message()]))
    return refresh_claim(schedule, source, Claim.from_message(*sent), Backoff())


def check(client, kind, row_ids):
    """Check that each row id has its own row, or a failure record."""
    for row_id in row_ids:
        value, record = client.get(b"inv:" + encode_row_id(row_id)), client.hget("failures:", encode_row_id(row_id))
        assert (value is None) != (record is None), row_id
        if value is not None:
            assert names_row(kind, row_id, json.loads(value)), row_id
        else:
            assert row_id not in IDS[kind], record
            assert json.loads(record)["error"].isprintable()
            assert len(record) < 1000
    assert client.zcard("schedule:") == len(row_ids), "all are still scheduled"


def test_any_row_id_gives_its_own_row_or_fails_alone(client, sources):
    for kind in sources:
        fuzz(client, kind, sources[kind])


def fuzz(client, kind, source):
    @reproducible
    @given(st.lists(row_ids, max_size=8, unique=True), st.sets(st.sampled_from(IDS[kind]), min_size=1))
    def check_batch(hostile, good):
        batch = list(dict.fromkeys([*hostile, *good]))
        refresh(client, source, batch)
        check(client, kind, batch)

    check_batch()


def test_row_id_of_a_megabyte_costs_the_others_of_its_batch_nothing(client, sources):
    for kind in sources:
        for long in ("x" * 1_000_000, "9" * 1_000_000, "\udcff" * 1_000_000, "," * 1_000_000, "\U0001f418" * 250_000):
            batch = [*IDS[kind], long]
            refresh(client, sources[kind], batch)
            check(client, kind, batch)


def test_unicode_forms_that_look_alike_are_different_rows(client, sources):
    refresh(client, sources["word"], ["é", "e\u0301", "a", "A"])
    assert {json.loads(client.get(f"inv:{word}"))["id"] for word in ("é", "e\u0301", "a", "A")} == {
        "é",
        "e\u0301",
        "a",
        "A",
    }


@reproducible
@given(st.lists(texts, min_size=2, max_size=4))
def test_key_of_several_columns_survives_as_row_id(parts):
    assert split_row_id(join_row_id(parts), len(parts)) == tuple(parts)
