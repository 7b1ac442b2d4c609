"""Seed queries, on real PostgreSQL and SQLite."""

from contextlib import closing

import pytest
from support.scratch_database import CREATE_USERS

from rowcache_tasks.config.query import Query, parse_queries
from rowcache_tasks.config.settings import Settings, Table
from rowcache_tasks.database.source import Source
from rowcache_tasks.errors import ConfigError, SourceError
from rowcache_tasks.schedule.claim import Changed
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.table import TableState
from rowcache_tasks.worker.admission import Admission
from rowcache_tasks.worker.whole_table import WholeTable

STOCK = (
    "CREATE TABLE stock (shop text NOT NULL, item integer NOT NULL, every numeric, PRIMARY KEY (shop, item))",
    "INSERT INTO stock VALUES ('a,b', 1, 2.5), ('a', 2, NULL)",
)


def query(sql):
    (found,) = parse_queries("queries", {"hot": sql})
    return found


def rows_of(source, sql, size=100):
    return [row for rows in source.stream_query(query(sql), size) for row in rows]


def nothing(*_):
    pass


def test_query_gives_row_ids_in_its_order(db):
    db.run(*CREATE_USERS)
    source = db.source("users")
    assert rows_of(source, "SELECT user_id FROM users WHERE user_id > 1 ORDER BY user_id DESC;") == [
        ("43", None),
        ("42", None),
    ]


def test_query_may_give_a_delay_for_each_row(db):
    db.run(*CREATE_USERS)
    sql = "WITH delays AS (SELECT 42 AS id, 2.5 AS delay UNION ALL SELECT 1, NULL) SELECT id, delay FROM delays"
    assert sorted(rows_of(db.source("users"), sql)) == [("1", None), ("42", 2.5)]


def test_query_of_a_key_of_several_columns_gives_them_in_the_order_of_the_key(db):
    db.run(*STOCK)
    source = db.source("stock")
    assert sorted(rows_of(source, "SELECT shop, item, every FROM stock")) == [("a%2Cb,1", 2.5), ("a,2", None)]
    assert sorted(rows_of(source, "SELECT shop, item FROM stock")) == [("a%2Cb,1", None), ("a,2", None)]


def test_percent_signs_and_colons_in_a_query_are_its_own(db):
    db.run(*CREATE_USERS)
    assert rows_of(db.source("users"), "SELECT user_id FROM users WHERE name LIKE 'B%' OR name = ':x %s'") == [
        ("42", None)
    ]


def test_row_whose_key_is_null_is_left_out(db):
    db.run(*CREATE_USERS)
    assert rows_of(db.source("users"), "SELECT NULL AS id UNION ALL SELECT user_id FROM users WHERE user_id = 1") == [
        ("1", None)
    ]


def test_row_whose_key_is_an_empty_text_is_left_out_of_queries_and_scans(db):
    db.run("CREATE TABLE word (id varchar(9) PRIMARY KEY)", "INSERT INTO word VALUES (''), ('a')")
    assert rows_of(db.source("word"), "SELECT id FROM word") == [("a", None)]
    assert list(db.source("word").stream_row_ids(10)) == [["a"]]


def test_query_is_streamed(pg):
    pg.run(
        "CREATE TABLE big AS SELECT n AS id FROM generate_series(1, 100000) n", "ALTER TABLE big ADD PRIMARY KEY (id)"
    )
    with closing(pg.source("big").stream_query(query("SELECT id FROM big"), 200)) as batches:
        assert len(next(batches)) == 200
        with pg._admin.connect() as connection:
            last = "SELECT query FROM pg_stat_activity WHERE state LIKE 'idle in%' AND datname = current_database()"
            assert "FETCH FORWARD" in connection.exec_driver_sql(last.replace("%", "%%")).scalar_one()
        assert sum(map(len, batches)) == 99_800


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (
            "SELECT name FROM users",
            "queries['hot']: the statement returns 'Ann', which is not a key: it is not a whole",
        ),
        ("SELECT user_id, 0 FROM users", "queries['hot']: row '1': delay is 0.0: it must be from 0.05 to "),
        ("SELECT user_id, name FROM users", "queries['hot']: row '1': delay is 'Ann': it must be a finite number"),
        ("SELECT user_id * 1.5 FROM users", "queries['hot']: the statement returns "),
        ("SELECT user_id, 5, 6 FROM users", "queries['hot']: the statement returns 3 column(s), the key has 1: select"),
    ],
)
def test_what_is_no_key_or_no_delay_is_an_error_of_the_query(db, sql, message):
    db.run(*CREATE_USERS)
    with pytest.raises(ConfigError) as caught:
        rows_of(db.source("users"), sql)
    assert str(caught.value).startswith(message)


def test_query_cannot_write(db):
    db.run(*CREATE_USERS)
    source = db.source("users")
    delete = Query("hot", "queries['hot']", "DELETE FROM users RETURNING user_id")
    with pytest.raises(SourceError, match=r"^queries\['hot'\]: cannot run the statement: "):
        list(source.stream_query(delete, 10))
    assert len(source.fetch(["1", "42", "43"]).rows) == 3


def test_check_of_a_query_runs_nothing_and_names_what_is_wrong(db):
    db.run(*CREATE_USERS)
    source = db.source("users")
    source.check_query(query("SELECT user_id FROM users -- a comment at its end"))
    source.check_query(query("WITH few AS (SELECT user_id FROM users LIMIT 1) SELECT user_id, 5 AS delay FROM few"))
    for wrong, message in [
        ("SELECT id FROM users", "cannot run the statement: "),
        ("SELECT user_id FROM nope", "cannot run the statement: "),
        ("SELECT FROM WHERE", "cannot run the statement: "),
        ("SELECT user_id, 1 AS a, 2 AS b FROM users", "the statement returns 3 column"),
    ]:
        with pytest.raises(ConfigError, match=r"queries\['hot'\]: " + message):
            source.check_query(query(wrong))


def test_check_of_a_query_does_not_wait_for_what_it_would_do(pg):
    pg.run(*CREATE_USERS)
    source = Source(pg.engine(statement_timeout_s=1), Table("inv", "users"))
    source.check_query(query("SELECT user_id FROM users, pg_sleep(60)"))


def test_query_is_scheduled_with_its_own_delays_or_else_the_one_given(db, client):
    db.run(*STOCK)
    schedule = Schedule(client, Table("inv", "stock"))
    every = query("SELECT shop, item, every FROM stock")
    before = client.time()[0]
    admission = Admission(client, Settings("redis://", {"inv": schedule.table}))
    table = WholeTable(schedule, TableState(client, schedule.table), db.source("stock"), admission)
    assert table.seed_query(every, 60, "", nothing) == Changed(2, 0)
    assert client.zrange("delay:", 0, -1, withscores=True) == [(b"a%2Cb,1", 2.5), (b"a,2", 60)]
    assert before <= client.zscore("schedule:", "a%2Cb,1") <= client.time()[0] + 1 + 2.5
