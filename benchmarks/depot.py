"""Own a Valkey that is filled with scheduled rows at once, as if they had been refreshed for an hour. Knows no case.

It holds what a real deployment leaves there, made in the order in which that is written: `schedule:`, `delay:` and
`changed:` by row id, the due times spread by the golden ratio as schedule_table spreads them; `refreshed:` in the order
of the due times, as commits write it. So the rows of one claim lie as far apart in memory as they really do. Rows that
are due have a value. RESTORE fills a ZSET five times faster than ZADD.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.demo.servers import Valkey
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.worker.seed import ALONE, GOLDEN_RATIO, SEED_BATCH

DELAY_S = 3600.0
"""Between two refreshes of a row."""

DUE_S = 600.0
"""Rows whose due times lie within the last ten minutes, a sixth of all, have not been refreshed yet."""

VALUE_BYTES = 320

CHUNK = 2_500
"""Values in one MSET."""

ZSETS = ("delay:", "schedule:", "refreshed:", "changed:")

ROOT = Path(__file__).parents[1]


class Depot:
    """A Valkey with the rows 1 to `rows`; `bytes_per_row` is what its memory grew by for a row.

    ZSET -> bytes; "inv:" -> what a value takes beyond its own bytes.
    """

    def __init__(self, rows: int, args: tuple[str, ...] = ()) -> None:
        self.rows = rows
        self.valkey = Valkey(args=("--enable-debug-command", "yes", "--proto-max-bulk-len", "2gb", *args))
        self.bytes_per_row: dict[str, float] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.valkey)
        self.client = redis.Redis.from_url(self.valkey.url, socket_timeout=600.0)
        self._stack.callback(self.client.close)
        self.schedule = Schedule(self.client, Table("inv", "inventory"))
        self.filled_at = self.now()
        # The serialized form ends with a checksum of a kind that Python has not; the server need not look at it.
        self.client.execute_command("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1")
        for key, payload in zip(ZSETS, self._dumps(), strict=True):
            before = self._memory()
            self.client.restore(key, 0, payload)
            self.bytes_per_row[key] = (self._memory() - before) / self.rows
        self._due = sorted((n for n in range(1, self.rows + 1) if due_in(n) <= 0), key=due_in)
        before = self._memory()
        for start in range(0, len(self._due), CHUNK):
            self.client.mset({f"inv:{n}": value(n) for n in self._due[start : start + CHUNK]})
        self.bytes_per_row["inv:"] = (self._memory() - before) / len(self._due) - VALUE_BYTES
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def make_due(self) -> None:
        """Give the rows that were due at first, a sixth of all, their due times back."""
        self.client.zadd("schedule:", {str(n): self.filled_at + due_in(n) for n in self._due})

    def now(self) -> float:
        """Read the server's clock; Unix seconds."""
        seconds, microseconds = self.client.time()
        return int(seconds) + int(microseconds) / 1e6

    def processor_s(self) -> float:
        """Read the processor time that the server has used; seconds."""
        used = self.client.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    def _dumps(self) -> Iterator[bytes]:
        """Give each ZSET in its serialized form; the next one is made while the server reads one."""
        numbers = [str(self.rows), repr(self.filled_at)]
        argv = [sys.executable, "-m", "benchmarks.programs.dump_zset"]
        makers: list[subprocess.Popen[bytes]] = []
        try:
            for key in (*ZSETS, None):
                if key:
                    makers.append(subprocess.Popen([*argv, key, *numbers], cwd=ROOT, stdout=subprocess.PIPE))
                if len(makers) > 1 or not key:
                    payload, _ = makers[0].communicate()
                    assert makers.pop(0).returncode == 0, "a ZSET cannot be made"
                    yield payload
        finally:
            for maker in makers:
                maker.kill()
                maker.wait()

    def _memory(self) -> int:
        """Read what the server's memory is, but for the buffers of connections; bytes."""
        self.client.connection_pool.disconnect()  # with what a command of 100 MB took
        self.client.ping()
        return int(self.client.info("memory")["used_memory_dataset"])


def due_in(n: int) -> float:
    """Give the due time of the n-th row, as schedule_table spreads them; seconds from the filling."""
    place = n - 1
    return (place // SEED_BATCH if place >= ALONE else place) * GOLDEN_RATIO % 1 * DELAY_S - DUE_S


def by_due_time(rows: int) -> list[int]:
    """Give the numbers of all rows, the one that is due first at the front."""
    return sorted(range(1, rows + 1), key=due_in)


def value(n: int, version: int = 0) -> bytes:
    """Make the value of a row, VALUE_BYTES long."""
    start = b'{"id":%d,"version":%d,"description":"' % (n, version)
    return start + b"x" * (VALUE_BYTES - len(start) - 2) + b'"}'
