"""Poolers and replicas are told from primaries, on real servers."""

import logging

from support.scratch_database import ScratchDatabase

from rowcache_tasks.database import engine
from rowcache_tasks.database.dialects.postgresql.dialect import PostgreSQL
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.server import is_pooled, is_replica


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
