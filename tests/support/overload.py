"""A deployment with more rows due than its workers can refresh.

Rows are read from a view that sleeps for each row. The whole queue takes longer than a lease.
"""

import time
from dataclasses import dataclass, field
from itertools import chain

import psutil
from support.queued_batches import read_batches
from support.waiting import wait_until

from rowcache_tasks.schedule.connection import connect

ROWS = 1700
NORMAL_DELAY_S = 10.0
MAX_QUEUE = 30
DISPATCHERS = ("beat1", "beat2")

FILL = f"INSERT INTO inventory SELECT n, 'item', 0 FROM generate_series(1, {ROWS}) n ON CONFLICT DO NOTHING"
VIEW = "CREATE VIEW slow AS SELECT id, name, stock, pg_sleep({})::text AS slept FROM inventory"
ENV = {
    "ROWCACHE_TABLES": '{"inv": {"table": "slow", "key": "id"}}',
    "ROWCACHE_BATCH_SIZE": "50",
    "ROWCACHE_MAX_QUEUE": str(MAX_QUEUE),
}


@dataclass
class Sample:
    """State at one moment."""

    queued: int
    """Batches waiting in the queue."""
    doubles: set = field(repr=False)
    """Row ids in more than one batch of the queue."""
    committed: int
    dispatcher_bytes: list
    """Resident memory of each dispatcher."""
    broker_bytes: int
    """Memory of the server, cache and broker together."""


class Overload:
    """Two dispatchers, one slow worker, and samples of their queue and memory.

    Reading a row takes `row_s`; its refresh interval is `delay_s`; seconds.
    """

    def __init__(self, deployment, lease_s, row_s, delay_s):
        self._deployment = deployment
        self._delay_s = delay_s
        self._lease_s = lease_s
        self._row_s = row_s
        self._broker = connect(deployment.valkey.url_for(1), "observer")
        self._dispatchers = []

    def start(self):
        """Start two dispatchers and a worker of two processes, and schedule all rows."""
        deployment = self._deployment
        deployment.sql(FILL)
        deployment.sql(VIEW.format(self._row_s))
        deployment.env |= ENV | {"ROWCACHE_LEASE": str(self._lease_s)}
        self._dispatchers = [psutil.Process(deployment.start_beat(name).pid) for name in DISPATCHERS]
        deployment.start_worker()
        self.schedule(self._delay_s)
        wait_until(lambda: deployment.stat("refreshed") == ROWS, "all rows are cached")

    def schedule(self, delay_s):
        """Schedule all rows, the first refreshes spread over one delay."""
        self._deployment.schedule.put_rows({str(n): (delay_s, n * delay_s / ROWS) for n in range(1, ROWS + 1)})

    def sample(self):
        """Take one sample."""
        queued = read_batches(self._broker)
        seen, doubles = set(), set()
        for row_id in chain.from_iterable(queued):
            (doubles if row_id in seen else seen).add(row_id)
        return Sample(
            queued=len(queued),
            doubles=doubles,
            committed=self._deployment.stat("refreshed") + self._deployment.stat("unchanged"),
            dispatcher_bytes=[process.memory_info().rss for process in self._dispatchers],
            broker_bytes=self._deployment.client.info("memory")["used_memory"],
        )

    def close(self):
        self._broker.close()


def watch(overload, seconds, pause_s=0.1):
    """Sample for a number of seconds; return the samples."""
    until, samples = time.monotonic() + seconds, []
    while time.monotonic() < until:
        samples.append(overload.sample())
        time.sleep(pause_s)
    return samples
