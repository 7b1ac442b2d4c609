"""Own the loads of the capacity model: a deployment of one dispatcher and two worker processes on rows that are due.

The rows are read from a view, so that their JSON can be made longer, and a share of them different at each refresh,
with no program that writes to the database and takes processor time there.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import psutil
import psycopg

from benchmarks.observation import Observation, Observer
from benchmarks.observation import seconds as processor_seconds
from benchmarks.stage import Stage, wait_until
from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.source import Source, create_source_engine
from rowcache_tasks.worker.seed import seed_table

GOLDEN_RATIO = 0.6180339887498949
VIEW = """
CREATE OR REPLACE VIEW item AS
SELECT id, sku, name, repeat(description, {repeats}) AS description, price, quantity, weight, is_active, attributes,
       CASE WHEN id % 100 < {changing} THEN clock_timestamp() ELSE updated_at END AS updated_at
FROM inventory
"""
PROCESSES = 2
QUIET_S = 1.0

Groups = Sequence[tuple[int, float]]
"""How many rows, and the seconds between their refreshes."""


class Load:
    """A deployment that refreshes what it is told to."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._empty = 0
        self.known = {"redis": {"second": self._measure_quiet()}}
        """Part -> costs that are measured by themselves; microseconds."""
        self.show()
        self._deployment = stage.deployment(ROWCACHE_TABLES='{"inv": {"table": "item", "key": "id"}}')
        beat = self._deployment.start_beat()
        worker = self._deployment.start_worker("worker", f"--concurrency={PROCESSES}")
        wait_until(lambda: "ready." in self._deployment.log("worker"), "the worker is ready")
        self.observer = Observer(stage, self._deployment, beat.pid, worker.pid)
        self.burst(40 * PROCESSES)  # opens all connections

    def _measure_quiet(self) -> float:
        """Measure what a second costs Redis that nobody uses; microseconds."""
        server = psutil.Process(self._stage.valkey.pid)
        before = processor_seconds(server)
        time.sleep(QUIET_S)
        return 1e6 * (processor_seconds(server) - before) / QUIET_S

    def close(self) -> None:
        """Stop the deployment."""
        self.observer.close()
        self._deployment.stop()

    def show(self, *, repeats: int = 1, changing: int = 0) -> None:
        """Let the description be so many times as long, and so many of a hundred rows change all the time."""
        with psycopg.connect(self._stage.conninfo, autocommit=True) as connection:
            connection.execute(VIEW.format(repeats=repeats, changing=changing))

    @property
    def rows(self) -> int:
        """How many rows the table has."""
        return self._stage.rows

    def memory(self) -> int:
        """Give the bytes that Redis uses."""
        return self.observer.memory()

    def empty(self) -> None:
        """Remove all rows and their values."""
        self._clear_schedule()
        self._stage.client.execute_command("FLUSHDB", "SYNC")
        self._empty = self.memory()

    def values_bytes(self) -> int:
        """Give the bytes that Redis uses for the rows of the schedule: all, but what an empty server uses."""
        return self.memory() - self._empty

    def seeding_rate(self, rows: int) -> float:
        """Give how many rows a second schedule_table schedules."""
        self._clear_schedule()
        with psycopg.connect(self._stage.conninfo, autocommit=True) as connection:
            connection.execute(f"CREATE OR REPLACE VIEW wanted AS SELECT id FROM item WHERE id <= {rows}")
        engine = create_source_engine(self._stage.database_url, statement_timeout_s=60.0)
        try:
            source = Source(engine, Table("inv", "wanted", key=("id",)))
            source.load()
            start = time.monotonic()
            seed_table(self._deployment.schedule, source, 36_000.0, "", lambda _: None)
            return rows / (time.monotonic() - start)
        finally:
            engine.dispose()
            self._clear_schedule()

    def row_bytes(self) -> float:
        """Give the mean JSON of cached rows; bytes."""
        pipeline = self._stage.client.pipeline(transaction=False)
        for row_id in range(1, 1001):
            pipeline.strlen(f"inv:{row_id}")
        sizes = [size for size in pipeline.execute() if size]
        return float(sum(sizes) / len(sizes))

    def idle(self, seconds: float) -> Observation:
        """Observe a deployment with nothing due."""
        return self._observe(seconds, is_idle=True)

    def burst(self, rows: int) -> Observation:
        """Let so many rows be due at once; observe until the last is committed."""
        self._clear_schedule()
        before = self.observer.look()
        self._deployment.schedule.put_rows({str(n): (3600.0, 60.0) for n in range(1, rows + 1)})
        due = self._stage.now() + 0.5 + rows * 2e-6
        self._make_due(rows, due)
        time.sleep(max(0.0, due - 0.05 - self._stage.now()))
        start = self.observer.look()
        goal = before.rows + rows
        wait_until(lambda: self._committed() >= goal, f"{rows} rows are committed", pause_s=0.02)
        return self.observer.look() - start

    def _make_due(self, rows: int, due: float) -> None:
        """Let rows be due within a millisecond, in no order of their ids."""
        for start in range(1, rows + 1, 5_000):
            row_ids = range(start, min(start + 5_000, rows + 1))
            self._stage.client.zadd("schedule:", {str(n): due + n * GOLDEN_RATIO % 1 / 1000 for n in row_ids})

    def pace(self, groups: Groups, seconds: float, settle_s: float = 0.5) -> Observation:
        """Refresh groups of rows on their intervals, the first refreshes spread over them; observe for so long."""
        self._clear_schedule()
        first = 1
        for count, every_s in groups:
            rows = {str(first + n): (every_s, 0.3 + n * GOLDEN_RATIO % 1 * every_s) for n in range(count)}
            self._deployment.schedule.put_rows(rows)
            first += count
        time.sleep(settle_s)
        return self._observe(seconds)

    def _observe(self, seconds: float, *, is_idle: bool = False) -> Observation:
        before, behind = self.observer.look(), []
        while (left := before.at + seconds - self.observer.clock()) > 0:
            time.sleep(left if is_idle else min(left, 0.01))
            if not is_idle:
                behind.append(self.observer.count_behind())
        return replace(self.observer.look() - before, behind=sum(behind) / max(1, len(behind)))

    def _clear_schedule(self) -> None:
        """Let nothing be due. What is in flight ends as a drop."""
        self._stage.client.delete("schedule:")
        wait_until(lambda: not self._stage.client.zcard("queue:"), "no batch waits")

    def _committed(self) -> int:
        return self._deployment.stat("refreshed") + self._deployment.stat("unchanged")


@contextmanager
def open_load(stage: Stage) -> Iterator[Load]:
    """Start a load and stop it."""
    stage.clear()
    load = Load(stage)
    try:
        yield load
    finally:
        load.close()
