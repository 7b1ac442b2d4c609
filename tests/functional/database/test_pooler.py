"""PostgreSQL behind PgBouncer in transaction mode, where it is installed; round trips of the SELECT of a batch."""

from itertools import chain, pairwise
from statistics import median

import pytest
from support.pgbouncer import PgBouncer, find_pgbouncer
from support.scratch_database import CREATE_USERS, ScratchDatabase, row_values
from support.turn_counter import TurnCounter

from rowcache_tasks.config.query import parse_queries
from rowcache_tasks.database.engine import is_pooled
from rowcache_tasks.errors import ConfigError


@pytest.fixture
def pooled(pg):
    """ScratchDatabase behind a pool of one session."""
    if not find_pgbouncer():
        pytest.skip("needs PgBouncer (Debian: apt install pgbouncer)")
    with PgBouncer(pg.url, size=1) as pooler:
        database = ScratchDatabase(pooler.url)
        yield database
        database.close()


@pytest.mark.parametrize("options", ["", "&prepare_threshold=0"])
def test_batch_is_read_in_one_round_trip(pg, options):
    pg.run(*CREATE_USERS)
    with TurnCounter(pg.url) as link:
        database = ScratchDatabase(link.url + options)
        source = database.source("users")
        source.fetch(["1"])
        source.fetch(["1"])
        turns = [link.turns]
        for _ in range(11):
            assert len(source.fetch(["1", "42"]).rows) == 2
            turns.append(link.turns)
        # What a busy client sends in two pieces may be answered in between, and counts as two.
        assert median(after - before for before, after in pairwise(turns)) == 1
        database.close()


def test_pooler_is_recognized(pooled):
    assert is_pooled(pooled.engine())


def test_everything_is_read_through_a_pooler_and_leaves_no_setting_on_its_session(pg, pooled):
    pg.run(*CREATE_USERS, "ALTER TABLE users ADD at timestamptz DEFAULT '2026-11-22 19:39:19+00'")
    pg.run(f"ALTER DATABASE {pg.url.partition('@/')[2].partition('?')[0]} SET TimeZone = 'Europe/Berlin'")
    settings = "SELECT name, setting FROM pg_settings WHERE source = 'session' ORDER BY name"
    source = pooled.source("users")
    (hot,) = parse_queries("queries", {"hot": "SELECT user_id FROM users WHERE note IS NOT NULL"})
    (wrong,) = parse_queries("queries", {"wrong": "SELECT nope FROM users"})
    for _ in range(10):  # more often than psycopg needs to prepare a statement
        assert row_values(source.fetch(["1"])) == {"1": (1, "Ann", None, "2026-11-22 19:39:19+00")}
        assert source.find_missing(["1", "2"]) == ["2"]
        assert list(chain(*source.stream_row_ids(2))) == ["1", "42", "43"]
        assert list(chain(*source.stream_query(hot, 1))) == [("42", None), ("43", None)]
        assert source.count_rows() == 3
        with pytest.raises(ConfigError, match="nope"):
            source.check_query(wrong)
    with pooled.engine().connect() as application:
        assert application.exec_driver_sql("SHOW default_transaction_read_only").scalar() == "off"
        assert "statement_timeout" not in dict(application.exec_driver_sql(settings).all())
        assert application.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar() == 0
