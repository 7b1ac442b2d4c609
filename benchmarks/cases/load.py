"""Load: demand and capacity as `rowcache status` estimates them, beside those that are measured.

Deployments of the same kind run in turn, and wait meanwhile: one whose rows are due all the time, which shows what is
possible, and before and after it one at each share of that. Each estimate stands beside the rates that were possible
just before and just after it, so that a slow minute of the machine cancels out. Two tables: a statement that waits for
30 ms and 10 ms for each row; and plain rows, which take processor time.
"""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

from support.waiting import wait_until

from benchmarks.options import Options
from benchmarks.progress import say
from benchmarks.section import Section, Table
from benchmarks.servers import Servers
from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.ops.overview import Overview, read_overview
from rowcache_tasks.schedule.table import TableState

SHARES = {"half": 0.5, "most": 0.9, "over": 1.2}
FULL = "full"
OVERLOAD_S = 0.5
"""Interval of the rows, shorter than any machine can keep."""
FULL_S, SHARE_S, SKIPPED_S = 8.0, 6.0, 1.0
"""Length of a turn; its beginning is not measured."""
SLOW = """
CREATE OR REPLACE VIEW slow AS
SELECT id, sku, name, price, pg_sleep(0.01)::text AS slept, (SELECT pg_sleep(0.03)::text) AS waited FROM inventory
"""
CAPTION = (
    "Estimates over what was possible in the turns just before and after, by a worker of 2 processes: the median, and "
    "the lowest and highest turn."
)


class Fleet:
    """A deployment with a dispatcher, a worker of two processes, and one table."""

    def __init__(self, servers: Servers, name: str, table: str, batch_size: int, rows: int) -> None:
        self.servers, self.name, self.rows = servers, name, rows
        tables = {name: {"table": table, "key": "id"}}
        raw = {"rowcache_redis_url": servers.valkey.url, "rowcache_tables": tables, "rowcache_batch_size": batch_size}
        self.settings = parse_settings(raw | {"rowcache_deployment": name})
        self._state = TableState(servers.client, self.settings.tables[name])
        self._state.pause_table(True)
        self._deployment = servers.deployment(
            ROWCACHE_TABLES=json.dumps(tables), ROWCACHE_BATCH_SIZE=str(batch_size), ROWCACHE_DEPLOYMENT=name
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the processes, which wait."""
        try:
            self._deployment.start_beat(f"beat-{self.name}")
            self._deployment.start_worker(f"worker-{self.name}")
            client = self.servers.client
            wait_until(lambda: client.zcard(self.settings.names.processes) == 2, f"{self.name} is there", 60)
            yield
        finally:
            self._deployment.stop()

    def take_turn(self, delay_s: float, seconds: float) -> tuple[Overview, float]:
        """Refresh the rows at an interval for a while; return the last look, and the commits a second."""
        keys, now, client = self.settings.tables[self.name].keys, self.servers.now(), self.servers.client
        client.zadd(keys.delay, {str(n): delay_s for n in range(1, self.rows + 1)})
        client.zadd(keys.schedule, {str(n): now + n / self.rows * delay_s for n in range(1, self.rows + 1)})
        self._state.pause_table(False)
        time.sleep(SKIPPED_S)
        first = self._look()
        time.sleep(seconds - SKIPPED_S)
        last = self._look()
        self._state.pause_table(True)
        wait_until(lambda: client.zcard(self.settings.names.queue) == 0, "no batch is in the queue", 60)
        return last, last.tables[self.name].rate_since(first.tables[self.name]) or 0.0

    def _look(self) -> Overview:
        return read_overview(self.servers.client, self.settings, with_clients=False)


def run(servers: Servers, options: Options) -> Section:
    """Measure both tables."""
    with servers.connect() as connection:
        connection.execute(SLOW)
    figures, rows = {}, []
    for name, table, batch_size, count in (("slow", "slow", 10, 1_000), ("plain", "inventory", 500, 50_000)):
        with ExitStack() as stack:
            fleets = {each: Fleet(servers, each, table, batch_size, count) for each in (FULL, *SHARES)}
            for fleet in fleets.values():
                stack.enter_context(fleet.running())
            figures[name] = measure(fleets, 2 if options.is_quick else 6)
        servers.clear()
        for each, share in SHARES.items():
            found = figures[name][each]
            say(f"load: {name}: at {share:.0%}: {found}")
            shown = [show(found[figure]) for figure in ("share", "demand", "capacity")]
            rows.append([name, f"{share:.0%}", *shown])
    columns = ["rows", "wanted", "demand, of what is possible", "estimated demand, of the real", "estimated capacity"]
    return Section("load", "Demand and capacity", [Table(columns, rows, CAPTION)], figures=figures)


def measure(fleets: dict[str, Fleet], turns: int) -> dict[str, dict[str, list[float]]]:
    """Let all take turns; return the ratios of each turn but the first, by share and figure."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in SHARES}
    possible = fleets[FULL].take_turn(OVERLOAD_S, FULL_S)[1]
    for turn in range(turns + 1):
        for name, share in SHARES.items():
            delay_s = fleets[name].rows / (share * possible)
            look, rate = fleets[name].take_turn(delay_s, SHARE_S)
            before, possible = possible, fleets[FULL].take_turn(OVERLOAD_S, FULL_S)[1]
            load, real, demand = look.loads[name], (before + possible) / 2, fleets[name].rows / delay_s
            ratios: dict[str, Any] = {"share": demand / real, "demand": load.demand / demand}
            ratios |= {"capacity": (load.capacity or 0.0) / real, "rate": rate / real}
            for figure, ratio in ratios.items() if turn else ():  # connections are made in the first
                found[name].setdefault(figure, []).append(round(ratio, 3))
    return found


def show(ratios: list[float]) -> str:
    """Write the median and the extremes."""
    return f"{median(ratios):.2f}× ({min(ratios):.2f}–{max(ratios):.2f})"
