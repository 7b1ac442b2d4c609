"""Load: demand and capacity as `rowcache status` estimates them, beside those that are measured.

The capacity is the rate of commits while far more rows are due than can be refreshed. Just after that, new processes
get a share of it, and the estimate is read at the end. Two tables: a statement that waits for 30 ms and 10 ms for each
row, so that other work on the machine matters less; and plain rows, which take processor time.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.waiting import wait_until

from benchmarks.options import Options
from benchmarks.progress import say
from benchmarks.section import Section, Table
from benchmarks.servers import Servers
from rowcache_tasks.config.settings import Settings, parse_settings
from rowcache_tasks.ops.overview import read_overview
from rowcache_tasks.schedule.load import Load

SHARES = (0.5, 0.9, 1.2)
OVERLOAD_S = 0.5
"""Interval of the rows, shorter than any machine can keep."""
SLOW = """
CREATE OR REPLACE VIEW slow AS
SELECT id, sku, name, price, pg_sleep(0.01)::text AS slept, (SELECT pg_sleep(0.03)::text) AS waited FROM inventory
"""


def run(servers: Servers, options: Options) -> Section:
    """Measure both tables."""
    with servers.connect() as connection:
        connection.execute(SLOW)
    settle_s = 8.0 if options.is_quick else 20.0
    figures, rows = {}, []
    for name, table, batch_size, count in (("slow", "slow", 10, 1_000), ("plain", "inventory", 500, 50_000)):
        settings = settings_of(servers, table, batch_size)
        found: dict[str, Any] = {}
        for share in SHARES:
            real = measure(servers, settings, count, OVERLOAD_S, settle_s)[1]
            load, rate = measure(servers, settings, count, count / (share * real), settle_s)
            found[str(share)] = {
                "real": real,
                "demand": load.demand / (share * real),
                "capacity": (load.capacity or 0.0) / real,
                "rate": rate / real,
            }
            say(f"load: {name}: at {share:.0%}: {found[str(share)]}")
        figures[name] = found
        rows += [
            [name, f"{share:.0%}", f"{found[str(share)]['demand']:.2f}×", f"{found[str(share)]['capacity']:.2f}×"]
            for share in SHARES
        ]
    estimates = Table(["rows", "demand, of what is possible", "estimated demand", "estimated capacity"], rows, CAPTION)
    return Section("load", "Demand and capacity", [estimates], figures=figures)


CAPTION = "Estimates beside the real demand, and beside the rate of a worker of 2 processes that is overloaded."


def settings_of(servers: Servers, table: str, batch_size: int) -> Settings:
    """Return the settings of the deployment."""
    tables = {"inv": {"table": table, "key": "id"}}
    raw = {"rowcache_redis_url": servers.valkey.url, "rowcache_tables": tables, "rowcache_batch_size": batch_size}
    return parse_settings(raw)


def measure(servers: Servers, settings: Settings, rows: int, delay_s: float, settle_s: float) -> tuple[Load, float]:
    """Refresh rows at an interval with new processes; return the load, and the commits a second of the last half."""
    with running(servers, settings):
        now = servers.now()
        servers.client.zadd("delay:", {str(n): delay_s for n in range(1, rows + 1)})
        servers.client.zadd("schedule:", {str(n): now + n / rows * delay_s for n in range(1, rows + 1)})
        time.sleep(settle_s / 2)
        first = read_overview(servers.client, settings, with_clients=False)
        time.sleep(settle_s / 2)
        last = read_overview(servers.client, settings, with_clients=False)
    servers.clear()
    return last.loads["inv"], last.tables["inv"].rate_since(first.tables["inv"]) or 0.0


@contextmanager
def running(servers: Servers, settings: Settings) -> Iterator[None]:
    """Run a dispatcher and a worker of two processes."""
    tables = json.dumps({"inv": {"table": settings.tables["inv"].table, "key": "id"}})
    deployment = servers.deployment(ROWCACHE_TABLES=tables, ROWCACHE_BATCH_SIZE=str(settings.batch_size))
    try:
        deployment.start_beat()
        deployment.start_worker()
        wait_until(lambda: servers.client.zcard("processes:") == 2, "both processes are there", 60)
        yield
    finally:
        deployment.stop()
