"""Batches of rows and scans of a table, on real PostgreSQL and SQLite."""

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.scratch_database import CREATE_USERS, encoded_row, row_values
from support.sent_sql import record_psycopg_queries

from rowcache_tasks.errors import EncodingError


def test_batch_is_sorted_into_rows_missing_and_errors(db):
    db.run(*CREATE_USERS)
    fetched = db.source("users").fetch(["1", "42", "7", "abc", "", "99999999999999999999", "1", "7"])
    assert row_values(fetched) == {"1": (1, "Ann", None), "42": (42, "Bob", "x")}
    assert fetched.missing == ["7"]
    assert fetched.errors.keys() == {"abc", "", "99999999999999999999"}
    assert fetched.errors["abc"] == "row id 'abc': it is not a whole number in plain digits"


def test_empty_batch_asks_nothing(db):
    db.run(*CREATE_USERS)
    source = db.source("users")
    source.load()
    db.run("DROP TABLE users")
    assert row_values(source.fetch([])) == {}
    assert source.fetch(["x"]).errors.keys() == {"x"}


def test_several_ids_of_one_key_all_get_its_row(db):
    db.run(*CREATE_USERS)
    fetched = db.source("users", columns=("name",)).fetch(["42", "042", "0000042", "007", "7"])
    assert row_values(fetched) == {"42": ("Bob",), "042": ("Bob",), "0000042": ("Bob",)}
    assert sorted(fetched.missing) == ["007", "7"]


def test_one_batch_is_one_select_with_one_text(pg):
    pg.run(*CREATE_USERS)
    source = pg.source("users")
    source.load()
    sent = record_psycopg_queries(source._engine)
    source.fetch(["1", "42"])
    source.fetch([str(i) for i in range(500)])
    assert len(sent) == 2
    assert len(set(sent)) == 1


def test_key_that_several_rows_have_is_an_error_alone(db):
    db.run(
        "CREATE TABLE log (day integer, line text)", "INSERT INTO log VALUES (1, 'a'), (2, 'b'), (2, 'c'), (NULL, 'd')"
    )
    source = db.source("log", key=("day",))
    for batch in (["1", "2"], ["2"]):
        fetched = source.fetch(batch)
        assert list(fetched.rows) == [row_id for row_id in batch if row_id == "1"]
        assert fetched.errors == {"2": "more than one row has this key: name columns that are unique together"}
    assert sorted(row_id for page in source.stream_row_ids(10) for row_id in page) == ["1", "2", "2"]


def test_rows_that_fail_the_select_are_alone_in_errors(pg):
    pg.run("CREATE TABLE part (id integer PRIMARY KEY, total integer, n integer)")
    pg.run(
        "INSERT INTO part SELECT i, 100, CASE WHEN i IN (7, 8, 300) THEN 0 ELSE i END FROM generate_series(1, 500) i"
    )
    pg.run("CREATE VIEW share AS SELECT id, total / n AS share FROM part")
    source = pg.source("share", key=("id",))
    source.load()
    sent = record_psycopg_queries(source._engine)
    fetched = source.fetch([str(i) for i in range(1, 502)])
    assert fetched.errors == dict.fromkeys(
        ["7", "8", "300"], "the database cannot read the row: division by zero (SQLSTATE 22012)"
    )
    assert len(fetched.rows) == 497
    assert fetched.missing == ["501"]
    assert len(sent) < 60


def test_row_that_fails_the_select_is_alone_in_errors_in_sqlite(sqlite):
    sqlite.run(
        "CREATE TABLE doc (id integer PRIMARY KEY, body text)",
        """INSERT INTO doc VALUES (1, '{"a":1}'), (2, '{'), (3, '[]')""",
    )
    sqlite.run("CREATE VIEW a AS SELECT id, json_extract(body, '$.a') AS a FROM doc")
    fetched = sqlite.source("a", key=("id",)).fetch(["1", "2", "3"])
    assert row_values(fetched) == {"1": (1, 1), "3": (3, None)}
    assert fetched.errors == {"2": "the database cannot read the row: malformed JSON"}


def test_reasons_never_quote_a_value(pg):
    pg.run("CREATE TABLE t (id integer PRIMARY KEY, secret text)", "INSERT INTO t VALUES (1, 'hunter2'), (2, '5')")
    pg.run(
        "CREATE FUNCTION fail(s text) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'bad %', s; END $$"
    )
    pg.run(
        "CREATE VIEW v AS SELECT id, secret::integer AS n FROM t",
        "CREATE VIEW f AS SELECT id, fail(secret) AS n FROM t",
    )
    assert pg.source("v", key=("id",)).fetch(["1", "2"]).errors == {
        "1": "the database cannot read the row: invalid input syntax for type integer: … (SQLSTATE 22P02)"
    }
    assert set(pg.source("f", key=("id",)).fetch(["1", "2"]).errors.values()) == {
        "the database cannot read the row: an exception was raised (SQLSTATE P0001)"
    }


def test_row_that_cannot_be_encoded_names_its_column(db):
    db.run("CREATE TABLE m (id integer PRIMARY KEY, ratio double precision)", "INSERT INTO m VALUES (1, 0.5)")
    db.run(f"INSERT INTO m VALUES (2, {'9e999' if 'sqlite' in db.url else chr(39) + 'inf' + chr(39)})")
    source = db.source("m")
    fetched = source.fetch(["1", "2"])
    assert fetched.encoder.encode(fetched.rows["1"]) == b'{"id":1,"ratio":0.5}'
    with pytest.raises(EncodingError, match=r"^column 'ratio': inf has no JSON form"):
        fetched.encoder.encode(fetched.rows["2"])


def test_stream_yields_every_key_in_pages_in_bounded_memory(pg):
    pg.run(
        "CREATE TABLE big (id integer)",
        "INSERT INTO big SELECT generate_series(1, 400000)",
        "INSERT INTO big VALUES (NULL)",
    )
    source = pg.source("big", key=("id",))
    pages = source.stream_row_ids(1000)
    total = int(next(pages)[0]) and 1000
    before = resident_bytes()
    for page in pages:
        assert len(page) == 1000
        total += len(page)
    assert total == 400000
    assert resident_bytes() - before < 10_000_000


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_stream_that_is_given_up_leaves_a_usable_connection(db):
    db.run("CREATE TABLE t (id integer PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3)")
    source = db.source("t")
    pages = source.stream_row_ids(1)
    next(pages)
    pages.close()
    assert len(source.fetch(["1", "2"]).rows) == 2
    assert source.count_rows() == 3
    db.run("DROP TABLE t")  # no lock is left


NUMBERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)


@given(number=NUMBERS, ratio=FLOATS, note=TEXTS, data=st.binary())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_values_survive_the_way_to_json(db, number, ratio, note, data):
    blob = "blob" if "sqlite" in db.url else "bytea"
    db.run("DROP TABLE IF EXISTS t", f"CREATE TABLE t (id text PRIMARY KEY, n bigint, r double precision, d {blob})")
    db.insert("t", note, number, ratio, data)
    encoded = encoded_row(db, "t", note)
    expected = {"id": note, "n": number, "r": ratio, "d": msgspec.to_builtins(data)}
    assert msgspec.json.decode(encoded) == expected
