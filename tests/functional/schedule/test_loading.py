"""A server that still loads its data after a restart, and answers LOADING meanwhile."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from support.reader_kind import READER_KINDS
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks import CacheError, ReadThrough, Refresher, RowCache
from rowcache_tasks.config.settings import Table
from rowcache_tasks.dispatch.backpressure import Limits
from rowcache_tasks.dispatch.dispatcher import Dispatcher
from rowcache_tasks.errors import RowCacheError
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.worker.refresh import refresh_claim, repeat_in_outage

TABLE = Table("inv", "inv")
SLOWLY = ("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")
"""A request is answered after each key, and a key takes 20 ms, until the test ends that."""


class LoadingValkey(Valkey):
    """Valkey whose start() returns when it answers, be it with LOADING."""

    def _is_ready(self):
        with redis.Redis.from_url(self.url) as client:
            try:
                return bool(client.info("persistence"))
            except redis.ConnectionError:
                return False


class Broker:
    """Keeps the claims that are sent."""

    def __init__(self):
        self.sent = []

    def send(self, _table, claims):
        self.sent += claims

    def queue_length(self):
        return 0


@pytest.fixture
def server():
    with LoadingValkey(args=SLOWLY) as server:
        yield server


def test_connected_readers_dispatcher_and_worker_wait_for_a_server_that_loads(server, sqlite, caplog):
    sqlite.run("CREATE TABLE inv (id INTEGER PRIMARY KEY)", "INSERT INTO inv VALUES (1), (2)")
    alone = ReadThrough(database_url=sqlite.url, when_redis_is_down=True)
    readers = [kind("inv", url=server.url, timeout=20) for kind in READER_KINDS.values()]
    near = RowCache("inv", url=server.url, timeout=20, near=10)
    broker, other = Broker(), redis.Redis.from_url(server.url)
    with connect(server.url, "test") as client, ThreadPoolExecutor(1) as worker:
        schedule = Schedule(client, TABLE)
        dispatcher = Dispatcher(client, [schedule], broker, Limits(lease_s=600))
        schedule.put_rows({"1": (100, 0)})
        dispatcher.run_once()
        schedule.put_rows({"2": (100, 0)})
        client.set("inv:2", '{"id":2}')
        assert [reader.get(2) for reader in readers] == [{"id": 2}] * 2
        wait_until(lambda: near.get(2) and near.near_statistics().hits, "the near cache has the row")
        other.mset({f"other:{n}": os.urandom(1500) for n in range(2000)})
        other.save()

        server.kill()
        server.start()
        assert other.info("persistence")["loading"] == 1
        for reader in [*readers, near]:
            with pytest.raises(CacheError, match=r"inv: Redis does not answer: .*loading"):
                reader.get(2)
        assert RowCache("inv", url=server.url, timeout=20, read_through=alone).get(2) == {"id": 2}, "of the database"
        with pytest.raises(redis.ConnectionError, match="loading"):
            dispatcher.run_once()
        with pytest.raises(RowCacheError, match="loading"):
            Refresher(url=server.url, tables={"inv": {"table": "inv"}}, timeout=20).refresh_now("inv", [2])
        source = sqlite.source("inv")
        refresh = lambda: refresh_claim(schedule, source, broker.sent[0], Backoff())  # noqa: E731
        refreshed = worker.submit(repeat_in_outage, refresh, time.monotonic() + 60)
        assert other.info("persistence")["loading"] == 1, "all of that was while it loads"

        other.config_set("key-load-delay", 0)
        assert refreshed.result()["refreshed"] == 1
        assert [reader.get(1) for reader in [*readers, near]] == [{"id": 1}] * 3
        # No worker has started the first batch: where it is old, the dispatcher looks first what has become of it.
        wait_until(lambda: dispatcher.run_once() >= 0 and len(broker.sent) == 2, "the other row is sent")
        assert [claim.row_ids for claim in broker.sent] == [["1"], ["2"]]
        wait_until(lambda: near.get(2) and near.near_statistics().sessions == 2, "the near cache is on again")
        assert sum("near cache is off" in line and "loading" in line for line in caplog.messages) == 1, "warned of once"
        dispatcher.close()
    for reader in readers:
        reader.end()
    near.close()
    other.close()
