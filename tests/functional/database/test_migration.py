"""Changes of a table that a source has read, on real PostgreSQL and SQLite."""

import pytest
from support.scratch_database import CREATE_USERS, row_values

from rowcache_tasks.database import source as source_module


@pytest.fixture
def source(db):
    db.run(*CREATE_USERS)
    source = db.source("users")
    source.fetch(["1"])
    return source


def test_dropped_column_is_not_read_any_more(db, source):
    db.run("ALTER TABLE users DROP COLUMN note")
    assert row_values(source.fetch(["1", "7"])) == {"1": (1, "Ann")}


def test_renamed_key_is_found_again(db, source):
    db.run("ALTER TABLE users RENAME COLUMN user_id TO id")
    assert source.find_missing(["1", "7"]) == ["7"]
    assert source.count_rows() == 3


def test_new_column_is_read_after_a_while_and_by_a_scan_at_once(db, source, monkeypatch):
    db.run("ALTER TABLE users ADD COLUMN age integer DEFAULT 7")
    assert row_values(source.fetch(["1"])) == {"1": (1, "Ann", None)}
    monkeypatch.setattr(source_module, "CATALOG_AGE_S", 0)
    fetched = source.fetch(["1"])
    assert fetched.encoder.encode(fetched.rows["1"]) == b'{"user_id":1,"name":"Ann","note":null,"age":7}'


def test_rows_are_encoded_by_the_columns_that_they_were_read_with(db, source):
    fetched = source.fetch(["1"])
    db.run("ALTER TABLE users ADD COLUMN age integer DEFAULT 7")
    source.load()
    assert fetched.encoder.encode(fetched.rows["1"]) == b'{"user_id":1,"name":"Ann","note":null}'


def test_swapped_table_with_another_type_of_key_is_read(db, source):
    db.run("ALTER TABLE users RENAME TO old", "CREATE TABLE users (code text PRIMARY KEY, n integer)")
    db.insert("users", "abc", 5)
    assert row_values(source.fetch(["abc"])) in ({"abc": ("abc", 5)}, {})
    assert row_values(source.fetch(["abc", "1"])) == {"abc": ("abc", 5)}
