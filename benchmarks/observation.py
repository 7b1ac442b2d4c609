"""Own what a load cost: processor time of each part, calls, bytes, between two looks from outside."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
from support.deployment import Deployment

from benchmarks.stage import Stage

PARTS = ("dispatcher", "worker_main", "worker_pool", "redis", "database")


@dataclass(frozen=True)
class Observation:
    """Counts and processor seconds of a stretch of time; the difference of two is what happened between them."""

    at: float
    """Monotonic seconds; of a difference: how long it was."""
    rows: float
    """Refreshes committed."""
    changed: float
    """Of them, those that found another value than the cache had."""
    batches: float
    queries: float
    net_in: float
    """Bytes that Redis received."""
    net_out: float
    processor: dict[str, float] = field(default_factory=dict)
    """Part -> processor seconds."""
    behind: float = 0.0
    """Of a difference: batches that were claimed and not started, on average."""

    def __sub__(self, before: "Observation") -> "Observation":
        names = ("at", "rows", "changed", "batches", "queries", "net_in", "net_out")
        return Observation(
            **{name: getattr(self, name) - getattr(before, name) for name in names},
            processor={part: self.processor[part] - before.processor[part] for part in PARTS},
        )


class Observer:
    """Looks at a deployment of one dispatcher and one worker, and at the servers."""

    def __init__(self, stage: Stage, deployment: Deployment, dispatcher: int, worker: int) -> None:
        self._stage = stage
        self._deployment = deployment
        self._dispatcher = psutil.Process(dispatcher)
        self._worker = psutil.Process(worker)
        self._database = psycopg.connect(stage.conninfo, autocommit=True)
        self._valkey = psutil.Process(stage.valkey.pid)
        self._asked = 0

    def close(self) -> None:
        """Close the connection to the database."""
        self._database.close()

    def look(self) -> Observation:
        """Read all counters."""
        info: Any = self._stage.client.info("everything")
        stats: Any = self._stage.client.hgetall("stats:")
        refreshed, unchanged = (int(stats.get(name, 0)) for name in (b"refreshed", b"unchanged"))
        self._asked += 1
        commits = self._database.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = 'bench'").fetchone()
        assert commits is not None
        return Observation(
            at=time.monotonic(),
            rows=refreshed + unchanged,
            changed=refreshed,
            batches=calls(info, "lpush"),
            queries=int(commits[0]) - self._asked,
            net_in=info["total_net_input_bytes"],
            net_out=info["total_net_output_bytes"],
            processor=self._processor(),
        )

    @staticmethod
    def clock() -> float:
        """Read the clock of observations."""
        return time.monotonic()

    def memory(self) -> int:
        """Give the bytes that Redis uses."""
        info: Any = self._stage.client.info("memory")
        return int(info["used_memory"])

    def count_behind(self) -> int:
        """Count the batches that were claimed and that no worker has started yet."""
        count: Any = self._stage.client.zcard("queue:")
        return int(count)

    def _processor(self) -> dict[str, float]:
        main = seconds(self._worker)
        return {
            "dispatcher": seconds(self._dispatcher),
            "worker_main": main,
            "worker_pool": sum(map(seconds, self._worker.children(recursive=True))),
            "redis": seconds(self._valkey),
            "database": self._database_seconds(),
        }

    def _database_seconds(self) -> float:
        root = psutil.Process(self._stage.postgres.pid)
        return sum(map(seconds, [root, *root.children(recursive=True)]))


def seconds(process: psutil.Process) -> float:
    """Give the processor seconds of one process, its children not included."""
    try:
        # In nanoseconds, where the kernel counts so; of threads that are there still.
        threads = list(Path(f"/proc/{process.pid}/task").glob("*/schedstat"))
        if threads:
            return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
        times = process.cpu_times()
    except (psutil.NoSuchProcess, OSError):
        return 0.0
    return float(times.user + times.system)


def calls(info: dict[str, Any], command: str) -> int:
    """Give how often a command was called."""
    return int(info.get(f"cmdstat_{command}", {}).get("calls", 0))
