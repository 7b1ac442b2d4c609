"""Poolers and replicas are told from primaries, on real servers."""

import logging

from support.scratch_database import ScratchDatabase

from rowcache_tasks.database.server import is_pooled, is_replica


def test_primary_without_a_pooler_is_neither_pooled_nor_a_replica(db, caplog):
    engine = db.engine()
    assert not is_pooled(engine)
    assert not is_replica(engine)
    assert not caplog.records


def test_connection_to_a_replica_is_warned_of_once(standby, caplog):
    database = ScratchDatabase(standby.url)
    with caplog.at_level(logging.WARNING):
        assert is_replica(database.engine())
        assert not is_pooled(database.engine())
    assert [record.getMessage().partition(": ")[0].split(" leads ")[1] for record in caplog.records] == ["to a replica"]
    database.close()
