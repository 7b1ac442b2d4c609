"""Poolers and replicas are told from primaries, on real servers."""

import logging

from support.scratch_database import ScratchDatabase
from support.standby import Standby
from support.waiting import wait_until

from rowcache_tasks.database import engine
from rowcache_tasks.database.dialects.postgresql.dialect import PostgreSQL
from rowcache_tasks.database.engine import create_source_engine, is_pooled, is_replica, read_lags


def test_primary_without_a_pooler_is_neither_pooled_nor_a_replica(db, caplog):
    assert not is_pooled(db.engine())
    assert not is_replica(db.engine())
    assert not caplog.records


def test_connection_to_a_replica_is_warned_of_once(standby, caplog, monkeypatch):
    monkeypatch.setattr(engine, "warned_urls", set())
    database = ScratchDatabase(standby.url)
    with caplog.at_level(logging.WARNING):
        assert is_replica(database.engine())
        assert not is_pooled(database.engine())
    assert [record.getMessage().partition(": ")[0].split(" leads ")[1] for record in caplog.records] == ["to a replica"]
    database.close()


def test_read_sees_all_before_its_position_whatever_the_isolation_level_of_the_role(pg):
    made = create_source_engine(
        f"{pg.url}&options=-cdefault_transaction_isolation=serializable", statement_timeout_s=10
    )
    with made.connect() as connection:
        driver = connection.connection.driver_connection
        cursor, *positions = driver.read("SHOW transaction_isolation", {}, PostgreSQL.position)
        assert cursor.fetchone() == ("read committed",)
        assert [position.fetchone()[0] for position in positions] == [False, False]
        assert driver.execute("SHOW transaction_isolation").fetchone() == ("serializable",)
    made.dispose()


def test_replica_that_has_lost_its_primary_is_not_called_up_to_date(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut_off")
    folder.chmod(0o755)
    primary = ScratchDatabase(postgres.url)
    primary.run("CREATE ROLE follower LOGIN REPLICATION", "CREATE TABLE written (id integer)")
    with Standby(folder / "server", postgres, delay_s=0, user="follower") as standby:
        replica = ScratchDatabase(standby.url)
        made = replica.engine()
        wait_until(lambda: read_lags(made, 1) == [0], "the replica follows")
        primary.run(
            "ALTER ROLE follower NOLOGIN",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE usename = 'follower'",
            "INSERT INTO written VALUES (1)",
        )
        (lag_s,) = wait_until(lambda: (found := read_lags(made, 1)) != [0] and found, "the lag is seen")
        assert lag_s is None or lag_s > 0  # None: it has not replayed a transaction yet
        replica.close()
    primary.run("DROP ROLE follower", "DROP TABLE written")
    primary.close()
