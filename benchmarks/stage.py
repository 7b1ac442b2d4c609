"""Own the servers and the rows that all contenders share. Knows no contender.

The rows: ten columns of mixed types, about 300 bytes of JSON. The cache and the broker are two databases of one Valkey;
PostgreSQL listens on a Unix socket, too, so no contender pays for TCP.
"""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import psycopg
import redis
from support.deployment import Deployment
from support.waiting import wait_until

from rowcache_tasks.demo.servers import Child, Postgres, Valkey

TABLE = """
CREATE TABLE inventory (
    id bigint PRIMARY KEY,
    sku text NOT NULL,
    name varchar(80) NOT NULL,
    description text,
    price numeric(10, 2) NOT NULL,
    quantity integer NOT NULL,
    weight double precision,
    is_active boolean NOT NULL,
    attributes jsonb NOT NULL,
    updated_at timestamptz NOT NULL
)
"""

ROWS = """
INSERT INTO inventory
SELECT n, 'SKU-' || lpad(n::text, 9, '0'), 'item number ' || n,
       'One of the things that are asked for far more often than they change: ' || md5(n::text),
       n %% 10000 / 100.0, n %% 1000, n %% 977 / 8.0, n %% 7 <> 0,
       jsonb_build_object('color', (ARRAY['red', 'green', 'blue'])[1 + n %% 3],
                          'sizes', jsonb_build_array(n %% 9, n %% 5)),
       timestamptz '2026-01-01 00:00:00Z' + n * interval '1 second'
FROM generate_series(1, %s) n
"""

CONTROL_KEYS = (
    "schedule:",
    "delay:",
    "refreshed:",
    "changed:",
    "failures:",
    "wake:",
    "stats:",
    "queue:",
    "beat:",
    "fill:inv:",
)
"""Every key of the cache's database that is no value."""

WARM_S = 1.0
"""A start that is set so long ahead finds every process of a contender waiting for it."""


class Stage:
    """A Valkey, a PostgreSQL with the table inventory of the rows 1 to `rows`, and a folder for logs."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:  # what was started is stopped when the rest cannot be
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def _start(self) -> None:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        self.valkey = self._stack.enter_context(Valkey())
        self.postgres = self._stack.enter_context(Postgres(args=("-c", "shared_buffers=512MB", "-c", "autovacuum=off")))
        self.database_url = self.postgres.create_database("bench")
        self.client = redis.Redis.from_url(self.valkey.url, socket_timeout=60.0)
        self.broker = redis.Redis.from_url(self.valkey.url_for(1), socket_timeout=60.0)
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(TABLE)
            connection.execute(ROWS, [self.rows])
            connection.execute("VACUUM ANALYZE inventory")

    def __exit__(self, *exc_info: object) -> None:
        self.client.close()
        self.broker.close()
        self._stack.close()

    @property
    def conninfo(self) -> str:
        """The address of the database for psycopg and libpq."""
        return self.database_url.replace("+psycopg", "")

    @property
    def env(self) -> dict[str, str]:
        """What a program of `programs` is told: the addresses."""
        return os.environ | {
            "BENCH_REDIS_URL": self.valkey.url,
            "BENCH_BROKER_URL": self.valkey.url_for(1),
            "BENCH_CELERY_BROKER_URL": self.valkey.broker_url(1),
            "BENCH_DATABASE": self.conninfo,
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }

    @property
    def server_pids(self) -> dict[str, list[int]]:
        """The servers, for Processor."""
        return {"valkey": [self.valkey.pid], "postgres": [self.postgres.pid]}

    def deployment(self, **env: str) -> Deployment:
        """Give a deployment of this package on the servers; stop() it."""
        deployment = Deployment(self.valkey, self.database_url, self.folder)
        deployment.env |= {"ROWCACHE_LEASE": "30"} | env
        return deployment

    def start(self, name: str, argv: list[str], **env: str) -> Child:
        """Start a program with its log in the folder; kill() it."""
        child = Child(argv, env=self.env | env, log=self.folder / f"{name}.log", cwd=self.folder)
        child.start()
        return child

    def log(self, name: str) -> str:
        """Give what a program wrote so far."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def clear(self) -> None:
        """Empty the cache and the broker."""
        self.client.flushdb()
        self.broker.flushdb()

    def now(self) -> float:
        """Read the clock of Redis; Unix seconds."""
        seconds, microseconds = self.client.time()
        return int(seconds) + int(microseconds) / 1e6

    def schedule(self, first: int, last: int, delay_s: float, due: float) -> None:
        """Have the rows first to last due at one time, as any client would: ZADD delay:, ZADD schedule:."""
        for start in range(first, last + 1, 10_000):
            row_ids = [str(n) for n in range(start, min(start + 10_000, last + 1))]
            with self.client.pipeline(transaction=False) as pipeline:
                pipeline.zadd("delay:", dict.fromkeys(row_ids, delay_s))
                pipeline.zadd("schedule:", dict.fromkeys(row_ids, due))
                pipeline.execute()

    def reschedule(self, delay_s: float, due: float) -> None:
        """Have all rows due at another time at once; `delay_s` is the delay that all of them have."""
        self.client.zunionstore("schedule:", {"delay:": due / delay_s})

    def cached(self) -> int:
        """Count the values in the cache: all keys of its database without those of the schedule."""
        with self.client.pipeline(transaction=True) as pipeline:
            pipeline.dbsize()
            pipeline.exists(*CONTROL_KEYS)
            keys, control = pipeline.execute()
        return int(keys) - int(control)


__all__ = ["WARM_S", "Stage", "wait_until"]
