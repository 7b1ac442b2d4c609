"""Own what a refresh writes, sends and asks: bytes of the append-only file, invalidations, queries.

The file is what replicas are sent, too. The cache is a Valkey of its own, since the broker's writes would count.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import redis
from support.deployment import Deployment

from benchmarks.stage import Stage, wait_until
from rowcache_tasks.demo.servers import Valkey

QUERY = re.compile(rb"LOG:  (?:execute [^:]*|statement): ")


@dataclass(frozen=True)
class Waste:
    """What the refreshes of some rows amounted to."""

    file_bytes: float
    """For a row; the claim and the commit."""
    invalidations: float
    """For a row: keys that a client with tracking was told of."""
    queries: float
    """For 1,000 rows: all that the workers sent to the database."""
    committed: dict[str, int]
    """What the commits counted: refreshed, unchanged."""


def wasted(stage: Stage, rows: int, batch_size: int) -> dict[str, Waste]:
    """Refresh rows that are new, then unchanged, then changed; kind -> what that amounted to."""
    stage.clear()
    found = {}
    with (
        Valkey(persistent=True, args=("--auto-aof-rewrite-percentage", "0")) as valkey,
        redis.Redis.from_url(valkey.url) as client,
        logged_queries(stage),
    ):
        deployment = Deployment(valkey, stage.database_url, stage.folder)
        deployment.env |= {
            "CELERY_BROKER_URL": stage.valkey.broker_url(1),
            "ROWCACHE_BATCH_SIZE": str(batch_size),
            "ROWCACHE_LEASE": "60",
        }
        try:
            deployment.start_beat("waste-beat")
            deployment.start_worker("waste-worker", "--concurrency=2")
            wait_until(lambda: " ready." in deployment.log("waste-worker"), "the worker runs")
            wait_until(lambda: "dispatching" in deployment.log("waste-beat"), "the dispatcher runs")
            with Listener(valkey) as listener:
                client.zadd("delay:", {str(n): 3600.0 for n in range(1, rows + 1)})
                for kind in ("warm", "new", "unchanged", "changed"):
                    if kind == "new":
                        client.delete(*client.keys("inv:*"))
                    if kind == "changed":
                        with psycopg.connect(stage.conninfo, autocommit=True) as connection:
                            connection.execute("UPDATE inventory SET quantity = quantity + 1 WHERE id <= %s", [rows])
                    found[kind] = refreshed(stage, client, listener, rows)
        finally:
            deployment.stop()
    del found["warm"]
    return found


def refreshed(stage: Stage, client: "redis.Redis", listener: "Listener", rows: int) -> Waste:
    """Have the rows due, and wait until all are committed."""
    before, size, queries = counts(client), file_size(client), query_count(stage)
    told = listener.keys()
    seconds, _ = client.time()
    # The last thing, so that nothing is refreshed before: these hundred bytes of the file count for all rows together.
    client.zunionstore("schedule:", {"delay:": int(seconds) / 3600.0})
    wait_until(lambda: sum(counts(client).values()) >= sum(before.values()) + rows, "all rows are committed")
    committed = {name: count - before[name] for name, count in counts(client).items()}
    return Waste(
        (file_size(client) - size) / rows,
        (listener.keys() - told) / rows,
        1000 * (query_count(stage) - queries) / rows,
        committed,
    )


def counts(client: "redis.Redis") -> dict[str, int]:
    """Read what commits have counted."""
    values = client.hmget("stats:", ["refreshed", "unchanged"])
    return dict(zip(("refreshed", "unchanged"), (int(value or 0) for value in values), strict=True))


def file_size(client: "redis.Redis") -> int:
    """Read how long the append-only file is; bytes."""
    return int(client.info("persistence")["aof_current_size"])


@contextmanager
def logged_queries(stage: Stage) -> Iterator[None]:
    """Let PostgreSQL log each statement of sessions that begin in here."""
    with psycopg.connect(stage.conninfo, autocommit=True) as connection:
        connection.execute("ALTER DATABASE bench SET log_statement = 'all'")
        try:
            yield
        finally:
            connection.execute("ALTER DATABASE bench RESET log_statement")


def query_count(stage: Stage) -> int:
    """Count the statements in PostgreSQL's log."""
    return len(QUERY.findall(stage.postgres.log.read_bytes()))


class Listener:
    """A client that is told which values have changed, as a near cache is."""

    def __init__(self, valkey: Valkey) -> None:
        path = redis.Redis.from_url(valkey.url).connection_pool.connection_kwargs["path"]
        self._keys = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(path)
        self._socket.sendall(b"HELLO 3\r\nCLIENT TRACKING ON BCAST PREFIX inv:\r\n")

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def keys(self) -> int:
        """Count the keys it has been told of by all writes until now.

        The server tells of a write before it answers the writer, so the answer to PING comes after all of them.
        """
        self._socket.sendall(b"PING\r\n")
        text = b""
        while not text.endswith(b"+PONG\r\n"):
            data = self._socket.recv(1 << 20)
            if not data:
                raise ConnectionError("the server has closed the listener's connection")
            text += data
        self._keys += text.count(b"\ninv:")
        return self._keys
