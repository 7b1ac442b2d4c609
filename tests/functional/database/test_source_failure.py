"""Sessions, and failures of the database as a whole, on real PostgreSQL and SQLite."""

import signal
import time

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from support.listener import Listener
from support.scratch_database import CREATE_USERS, ScratchDatabase, row_values
from support.sent_sql import record_psycopg_queries
from support.waiting import wait_until

from demo.servers import Postgres
from rowcache_tasks.config.settings import Table
from rowcache_tasks.database import outage
from rowcache_tasks.database.dialects.postgresql.dialect import PostgreSQL
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.errors import SourceError

SETTINGS = """
SELECT 1 AS id, current_setting('transaction_read_only') AS read_only, current_setting('statement_timeout') AS bound,
       current_setting('TimeZone') AS zone, current_setting('IntervalStyle') AS style,
       current_setting('client_encoding') AS encoding, current_setting('default_transaction_read_only') AS session
"""


def test_postgresql_reads_are_read_only_bounded_and_in_utc_and_leave_nothing_on_the_session(pg):
    pg.run(f"CREATE VIEW v AS {SETTINGS}")
    engine = pg.engine(statement_timeout_s=1.5)
    source = Source(engine, Table("inv", "v", key=("id",)))
    expected = (1, "on", "1500ms", "UTC", "iso_8601", "UTF8", "off")
    with engine.connect() as one, PostgreSQL().transaction(engine) as other:
        before = one.exec_driver_sql(SETTINGS).one()
        assert other.exec_driver_sql(SETTINGS).one() == expected
        with pytest.raises(Exception, match="read-only transaction"):
            other.exec_driver_sql("CREATE TABLE t (id integer)")
    assert row_values(source.fetch(["1"])) == {"1": expected}
    with engine.connect() as one, engine.connect() as other:
        assert {tuple(each.exec_driver_sql(SETTINGS).one()) for each in (one, other)} == {tuple(before)}


def test_sqlite_session_is_read_only(sqlite):
    with sqlite.engine().connect() as connection, pytest.raises(Exception, match="readonly database"):
        connection.exec_driver_sql("CREATE TABLE t (id integer)")


def test_sqlite_file_that_is_not_there_is_an_error_and_is_not_made(tmp_path):
    engine = create_source_engine(f"sqlite:///{tmp_path}/none.db", statement_timeout_s=1)
    with pytest.raises(SourceError, match="unable to open database file"):
        Source(engine, Table("inv", "t")).load()
    assert not list(tmp_path.iterdir())


def test_slow_statement_is_a_source_error(pg):
    pg.run("CREATE TABLE t (id integer PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    pg.run("CREATE VIEW v AS SELECT id, pg_sleep(60) IS NULL AS s FROM t")
    source = Source(pg.engine(statement_timeout_s=0.2), Table("inv", "v", key=("id",)))
    with pytest.raises(SourceError, match="canceling statement due to statement timeout"):
        source.fetch(["1", "2"])


def test_table_that_vanishes_is_a_source_error_until_it_is_back(db):
    db.run(*CREATE_USERS)
    source = db.source("users")
    source.load()
    db.run("ALTER TABLE users RENAME TO gone")
    message = r"^rowcache_tables\['inv'\]\['table'\]: the database has no table or view 'users': allowed are gone$"
    with pytest.raises(SourceError, match=message):
        source.fetch(["1", "2"])
    db.run("ALTER TABLE gone RENAME TO users")
    assert list(source.fetch(["1"]).rows) == ["1"]


@pytest.mark.parametrize("options", ["", "&prepare_threshold=0"])
def test_column_whose_type_changes_is_read_by_its_new_type(pg, options):
    pg.run("CREATE TABLE t (id integer PRIMARY KEY, v integer)", "INSERT INTO t VALUES (1, 5)")
    engine = create_source_engine(pg.url + options, statement_timeout_s=10)
    source = Source(engine, Table("inv", "t"))
    source.fetch(["1"])
    pg.run("ALTER TABLE t ALTER v TYPE timestamptz USING '2026-11-22 19:39:19+00'")
    fetched = source.fetch(["1"])
    assert fetched.encoder.encode(fetched.rows["1"]) == b'{"id":1,"v":"2026-11-22T19:39:19Z"}'
    engine.dispose()


def test_connections_survive_a_restart_of_the_database():
    with Postgres() as server:
        database = ScratchDatabase(server.url)
        database.run(*CREATE_USERS)
        source = database.source("users")
        assert list(source.fetch(["1"]).rows) == ["1"]
        server.kill()
        for _ in range(2):
            with pytest.raises(SourceError, match=r"^rowcache_tables\['inv'\]: cannot read 'users': ") as caught:
                source.fetch(["1"])
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) <= 200
        server.start()
        assert list(source.fetch(["1"]).rows) == ["1"]
        server.kill()
        server.start()
        assert list(source.fetch(["1", "42"]).rows) == ["1", "42"]  # the stale connection is not noticed
        server.kill()
        server.start()
        assert sum(map(len, source.stream_row_ids(10))) == 3
        database.close()


def test_restart_of_the_database_is_noticed_for_all_connections_at_once():
    with Postgres() as server:
        database = ScratchDatabase(server.url)
        database.run(*CREATE_USERS)
        source = database.source("users")
        source.load()
        engine = source._engine
        with engine.connect() as one, engine.connect() as two:
            assert one.scalar(text("SELECT 1")) == two.scalar(text("SELECT 1"))
        server.kill()
        server.start()
        assert list(source.fetch(["1"]).rows) == ["1"]
        with engine.connect() as one, engine.connect() as two:
            assert one.scalar(text("SELECT 1")) == two.scalar(text("SELECT 1")), "none of the old ones is left"
        database.close()


class Interrupted(BaseException):
    """Raised by a signal in the midst of a wait."""


def interrupt(_signal, _frame):
    raise Interrupted


def test_connection_whose_answer_was_not_waited_for_is_not_used_again(pg):
    pg.run(*CREATE_USERS, "CREATE VIEW v AS SELECT user_id AS id, pg_sleep(60) IS NULL AS s FROM users")
    engine = pg.engine(statement_timeout_s=60)
    slow, source = (Source(engine, Table("inv", name, key=(key,))) for name, key in (("v", "id"), ("users", "user_id")))
    slow.load()
    source.load()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Interrupted):
            slow.fetch(["1"])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert list(source.fetch(["1"]).rows) == ["1"]


def test_error_with_which_the_server_ends_the_connection_is_that_of_no_row(pg):
    source = pg.source("users")
    error = psycopg.errors.lookup("XX000")("could not open file")
    for is_ended in (True, False):
        wrapped = DBAPIError("SELECT", None, error, connection_invalidated=is_ended)
        assert (source._row_reason(wrapped) is None) is is_ended


def test_unreachable_database_is_a_source_error_without_the_password():
    engine = create_source_engine("postgresql+psycopg://me:hunter2@127.0.0.1:1/db", statement_timeout_s=1)
    with pytest.raises(SourceError, match=r"127\.0\.0\.1") as caught:
        Source(engine, Table("inv", "users")).load()
    assert "hunter2" not in str(caught.value)


def test_server_that_does_not_answer_is_not_tried_by_each_batch(monkeypatch):
    callers = []
    monkeypatch.setattr(outage, "FACTOR", 3600)
    with Listener(callers.append) as silent:
        url = f"postgresql+psycopg://me@127.0.0.1:{silent.port}/db?connect_timeout=2"
        engine = create_source_engine(url, statement_timeout_s=5)
        for table in ("users", "items", "users"):
            with pytest.raises(SourceError, match="timeout"):
                Source(engine, Table(table, table)).fetch(["1"])
        assert len(callers) == 1
        callers[0].close()


def test_table_that_fails_slowly_is_not_read_by_each_batch_and_holds_up_no_other(pg):
    pg.run(*CREATE_USERS, "CREATE VIEW v AS SELECT user_id AS id, pg_sleep(60) IS NULL AS s FROM users")
    engine = pg.engine(statement_timeout_s=0.6)
    slow, source = (Source(engine, Table("inv", name, key=(key,))) for name, key in (("v", "id"), ("users", "user_id")))
    sent, started = record_psycopg_queries(engine), time.monotonic()
    for _ in range(3):
        with pytest.raises(SourceError, match="statement timeout"):
            slow.fetch(["1"])
        assert list(source.fetch(["1"]).rows) == ["1"]
    tried_s = 0.6 * (1 + outage.FACTOR)
    assert sum("FROM v" in str(query) for query in sent) <= 1 + (time.monotonic() - started) / tried_s
    pg.run("CREATE OR REPLACE VIEW v AS SELECT user_id AS id, false AS s FROM users")
    wait_until(lambda: is_read(slow), "it is tried again after the pause")


def is_read(source):
    """Return whether a row can be read."""
    try:
        return bool(source.fetch(["1"]).rows)
    except SourceError:
        return False
