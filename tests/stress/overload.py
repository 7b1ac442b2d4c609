"""What happens with ten times more rows due than the workers can do: the queue, the order, the memory, the end of it.

    PYTHONPATH=tests python -m stress.overload [--seconds 60]

Rows are read from a view that sleeps for each row, so that two processes refresh about 1000 rows a second at most; 1700
rows that are to be refreshed every 0.2 seconds are 8500 a second. The whole queue takes longer than a lease. Then
the rows are scheduled anew with a delay that makes a fifth of what the workers can do. Prints a line for each second.
"""

import argparse
import time
from dataclasses import dataclass, field
from itertools import chain

import psutil
from stress.message import read_batches
from stress.observer import Observer
from stress.setup import open_deployment
from support.waiting import wait_until

from rowcache_tasks.schedule.connection import connect

ROWS = 1700
OVERLOAD_DELAY_S, NORMAL_DELAY_S = 0.2, 10.0
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
    """The state at one moment."""

    queued: int
    """Batches that wait in the queue."""
    doubles: set = field(repr=False)
    """Row ids that are in more than one batch of the queue."""
    committed: int
    dispatcher_bytes: list
    """Resident memory of each dispatcher."""
    broker_bytes: int
    """Memory that the server uses for cache and broker."""


class Overload:
    """A deployment under overload, and what can be seen of it from outside.

    A row takes `row_s` to be read, and is to be refreshed every `delay_s`; seconds. The whole queue takes longer than
    `lease_s`. Where the delay is longer than that, the rows in the queue are the ones that are due again first.
    """

    def __init__(self, deployment, lease_s=1, row_s=0.002, delay_s=OVERLOAD_DELAY_S):
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
        deployment.start_worker("worker", "--without-gossip", "--without-mingle")
        self.schedule(self._delay_s)
        wait_until(lambda: deployment.stat("refreshed") == ROWS, "all rows are cached", timeout_s=60)

    def schedule(self, delay_s):
        """Schedule all rows, the first refreshes spread over one delay."""
        self._deployment.schedule.put_rows({str(n): (delay_s, n * delay_s / ROWS) for n in range(1, ROWS + 1)})

    def sample(self):
        """Look once."""
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


def watch(overload, seconds, pause_s=0.02):
    """Sample for so long; returns the samples."""
    until, samples = time.monotonic() + seconds, []
    while time.monotonic() < until:
        samples.append(overload.sample())
        time.sleep(pause_s)
    return samples


def describe(samples, late_s):
    first, last = samples[0], samples[-1]
    resident = " ".join(f"{size / 2**20:.1f}" for size in last.dispatcher_bytes)
    return (
        f"{max(sample.queued for sample in samples):>5} {len(set().union(*(s.doubles for s in samples))):>7}"
        f" {last.committed - first.committed:>6} {late_s:>6.2f} s {resident:>12} {last.broker_bytes / 2**20:>10.2f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    with open_deployment(ROWS) as (deployment, _):
        overload = Overload(deployment)
        overload.start()
        rows = dict.fromkeys(map(str, range(1, ROWS + 1)), OVERLOAD_DELAY_S)
        print("second queue doubles rows/s     late dispatcher MiB broker MiB")
        with Observer(deployment, rows) as observer:
            for second in range(options.seconds):
                print(f"{second:>6} {describe(watch(overload, 1), observer.reset()[1])}", flush=True)
            commits = sorted(observer.commits.values())
            print(f"each row was refreshed {commits[0]} to {commits[-1]} times, {sum(commits) / ROWS:.1f} on average")
        overload.schedule(NORMAL_DELAY_S)
        with Observer(deployment, dict.fromkeys(rows, NORMAL_DELAY_S)) as observer:
            for second in range(30):
                print(f"{second:>6} {describe(watch(overload, 1), observer.reset()[1])}", flush=True)
        print({name: deployment.stat(name) for name in ("claimed", "refreshed", "unchanged", "superseded", "failed")})
        overload.close()


if __name__ == "__main__":
    main()
