"""Valkey, PostgreSQL and the table of rows that all contenders share.

The rows have ten columns of mixed types, about 320 bytes of JSON. The cache and the broker are two databases of one
Valkey. All connections are Unix sockets.
"""

import copy
import ctypes.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import psycopg
import redis
from support.deployment import Deployment

from demo.servers import Child, Postgres, Valkey

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

OLD_VALUES = "for n = ARGV[1], ARGV[2] do redis.call('SET', 'inv:' .. n, ARGV[3], 'EX', 36000) end"
OLD_VALUE = '{"old": "%s"}' % ("x" * 310)

CHUNK = 10_000
"""Rows in one ZADD."""

ROOT = Path(__file__).parents[1]

ChildFactory = Callable[..., Child]
"""Makes the processes of this package; those of the other contenders are always started anew."""


class Servers:
    """A Valkey, a PostgreSQL with the table inventory of the rows 1 to `rows`, and a folder for logs."""

    def __init__(self, rows: int, child: ChildFactory = Child) -> None:
        self.rows = rows
        self._child = child
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:  # stops the servers that run when another one fails to start
            self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            self.postgres = self._stack.enter_context(
                Postgres(args=("-c", "shared_buffers=512MB", "-c", "autovacuum=off"))
            )
            self.database_url = self.postgres.create_database("bench")
            with self.connect() as connection:
                connection.execute(TABLE)
                connection.execute(ROWS, [self.rows])
                connection.execute("VACUUM ANALYZE inventory")
            self._start_valkey(self._stack)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _start_valkey(self, stack: ExitStack) -> None:
        self.valkey = stack.enter_context(Valkey())
        self.client = stack.enter_context(redis.Redis.from_url(self.valkey.url, socket_timeout=60.0))
        self.broker = stack.enter_context(redis.Redis.from_url(self.valkey.url_for(1), socket_timeout=60.0))

    @contextmanager
    def with_valkey(self, **env: str) -> Iterator["Servers"]:
        """Yield the same PostgreSQL with a second Valkey, started in an environment."""
        other = copy.copy(self)
        with ExitStack() as stack:
            before = dict(os.environ)
            os.environ.update(env)
            try:
                other._start_valkey(stack)
            finally:
                os.environ.clear()
                os.environ.update(before)
            yield other

    def connect(self) -> psycopg.Connection:
        """Open a connection to the database in autocommit."""
        return psycopg.connect(self.conninfo, autocommit=True)

    @property
    def conninfo(self) -> str:
        """Address of the database for psycopg and libpq."""
        return self.database_url.replace("+psycopg", "")

    @property
    def env(self) -> dict[str, str]:
        """Environment of the programs."""
        return os.environ | {
            "BENCH_REDIS_URL": self.valkey.url,
            "BENCH_BROKER_URL": self.valkey.url_for(1),
            "BENCH_CELERY_BROKER_URL": self.valkey.broker_url(1),
            "BENCH_DATABASE": self.conninfo,
            "PYTHONPATH": str(ROOT),
        }

    def deployment(self, checkout: Path = ROOT, **env: str) -> Deployment:
        """Create a deployment of the package in a checkout on the servers; the caller stops it."""

        def child(argv: list[str], *, env: dict[str, str], log: Path, cwd: Path) -> Child:
            del cwd  # Python finds modules in the current folder first
            return self._child(argv, env=env, log=log, cwd=checkout)

        deployment = Deployment(self.valkey, self.database_url, self.folder, child=child)
        deployment.env |= {"ROWCACHE_LEASE": "30", "PYTHONPATH": str(checkout)} | env
        return deployment

    def start(self, name: str, argv: list[str]) -> Child:
        """Start a program whose log is in the folder; the caller kills it."""
        child = Child(argv, env=self.env, log=self.folder / f"{name}.log", cwd=self.folder)
        child.start()
        return child

    def log(self, name: str) -> str:
        """Read the log of a program."""
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
        """Make the rows first to last due at one time, as any client does: ZADD delay:, ZADD schedule:."""
        for start in range(first, last + 1, CHUNK):
            row_ids = [str(n) for n in range(start, min(start + CHUNK, last + 1))]
            with self.client.pipeline(transaction=False) as pipeline:
                pipeline.zadd("delay:", dict.fromkeys(row_ids, delay_s))
                pipeline.zadd("schedule:", dict.fromkeys(row_ids, due))
                pipeline.execute()

    def reschedule(self, delay_s: float, due: float) -> None:
        """Move the due times of all rows, whose delay is the same, with one command."""
        self.client.zunionstore("schedule:", {"delay:": due / delay_s})

    def put_old_values(self, rows: int, delay_s: float) -> None:
        """Cache an old value of each of the rows 1 to `rows`, whose delay is the same, as refreshed 10 s ago.

        It has an expiry, which a SET or MSET removes.
        """
        for start in range(1, rows + 1, CHUNK):
            self.client.eval(OLD_VALUES, 0, start, min(start + CHUNK - 1, rows), OLD_VALUE)
        self.client.zunionstore("refreshed:", {"delay:": (self.now() - 10) / delay_s})

    def count_old_values(self) -> int:
        """Count the old values that are not replaced yet."""
        found: dict[str, dict[str, int]] = self.client.info("keyspace")
        return found["db0"]["expires"] if found else 0


def jemalloc_env() -> dict[str, str] | None:
    """Return the environment in which Valkey uses jemalloc; None where there is no libjemalloc.

    BENCH_JEMALLOC names the library, otherwise it is that of the system, which its packages of Redis and Valkey bring.
    Without a library, a server on the PATH that has jemalloc built in.
    """
    if library := os.environ.get("BENCH_JEMALLOC") or ctypes.util.find_library("jemalloc"):
        return {"LD_PRELOAD": library}
    for path in filter(None, map(shutil.which, ("valkey-server", "redis-server"))):
        if b"jemalloc-5" in Path(path).read_bytes():
            return {"ROWCACHE_VALKEY_SERVER": path}
    return None


def allocator_of(valkey: Valkey) -> str:
    """Name the allocator of a Valkey: a preloaded library, or the one of INFO memory."""
    maps = Path(f"/proc/{valkey.pid}/maps")
    if maps.exists() and "libjemalloc" in maps.read_text():
        return "jemalloc"
    with redis.Redis.from_url(valkey.url) as client:
        found: str = client.info("memory")["mem_allocator"]
    return "libc malloc" if found == "libc" else found
