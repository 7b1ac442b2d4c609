"""Round trips of the worker for a full batch, counted by the servers."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from support.waiting import wait_until

from benchmarks.contender import BATCH_SIZE, OURS
from benchmarks.servers import Servers
from benchmarks.warmup import DELAY_S

STATEMENT = re.compile(rb"LOG: +(?:statement|execute [^:]*): ")


@dataclass(frozen=True)
class RoundTrips:
    """Round trips a batch, those to the broker left out."""

    cache: float
    """Commands to the cache; each waits for its answer."""
    database: float
    """Statements to the database."""


def count_round_trips(servers: Servers, batches: int) -> RoundTrips:
    """Let full batches wait in the queue, stop the dispatcher, and count while the worker refreshes them.

    Nothing else sends commands to the database of the cache meanwhile.
    """
    servers.clear()
    rows = batches * BATCH_SIZE
    with logged_statements(servers), OURS.running(servers) as pids, servers.client.monitor() as monitor:
        workers = [psutil.Process(pid) for pid in (*pids["worker"], *pids["pool"])]
        for process in workers:
            process.suspend()
        servers.schedule(1, rows, DELAY_S, servers.now())
        wait_until(lambda: not servers.client.zcount("schedule:", "-inf", time.time()), "all rows are claimed")
        psutil.Process(pids["dispatcher"][0]).suspend()
        servers.client.echo("begin")
        statements = count_statements(servers)
        for process in workers:
            process.resume()
        wait_until(lambda: servers.broker.info("keyspace")["db0"]["keys"] > rows, "all rows are cached")
        time.sleep(0.5)  # nothing shows that the worker has sent its last command
        servers.client.echo("end")
        seen: list[str] = []
        for each in monitor.listen():
            if each["client_type"] != "lua" and each["db"] == 0:
                seen.append(each["command"])
            if each["command"].endswith("end"):
                break
    commands = len(seen) - 1 - seen.index("ECHO begin") - 1
    return RoundTrips(commands / batches, (count_statements(servers) - statements) / batches)


@contextmanager
def logged_statements(servers: Servers) -> Iterator[None]:
    """Let PostgreSQL log each statement of the sessions that start meanwhile."""
    with servers.connect() as connection:
        connection.execute("ALTER DATABASE bench SET log_statement = 'all'")
        try:
            yield
        finally:
            connection.execute("ALTER DATABASE bench RESET log_statement")


def count_statements(servers: Servers) -> int:
    """Count the statements in the log of PostgreSQL."""
    return len(STATEMENT.findall(servers.postgres.log.read_bytes()))
