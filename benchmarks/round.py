"""One round of a contender.

A contender is started and warmed up. Then rows with an old value become due at one moment. The clock stops when the
server counts no old value any more, and no row of this package that is due or leased. The clock starts after the rows
were written to the schedule.
"""

import random
import time
from dataclasses import dataclass

import msgspec
from psycopg.rows import dict_row

from benchmarks.contender import Contender, Pids
from benchmarks.processor import Processor, tree
from benchmarks.servers import Servers
from benchmarks.warmup import DELAY_S, order, wait_for_values

LEAD_S = 0.6
"""Time between the write of the due times and the due time."""

PATIENCE = (1, 4, 16)
"""Factors of LEAD_S, tried in turn on a machine that is too slow."""

TIMEOUT_S = 120.0
CHECKED = 200
"""Values compared with the database."""


@dataclass(frozen=True)
class Round:
    """Result of one round."""

    rate: float
    """Rows a second, from their due time until the last one is in the cache, and none is due or leased."""
    cost_us: dict[str, float]
    """Group of processes -> microseconds of processor time a row."""


def run_round(servers: Servers, contender: Contender, rows: int, is_checked: bool = False) -> Round:
    """Run a round; with more lead time again when the due time had passed before everything was ready."""
    for patience in PATIENCE:
        servers.clear()
        with contender.running(servers) as pids:
            due = schedule(servers, rows, patience * LEAD_S)
            processor = Processor(server_pids(servers) | pids)
            if servers.now() > due:
                continue
            wait_for_values(servers, pids, rows, due, TIMEOUT_S)
            if contender.is_ours:
                wait_for_schedule(servers, due)
            seconds, used = servers.now() - due, processor.used()
            if is_checked:
                compare_values(servers, contender.name, rows)
            return Round(rows / seconds, {name: 1e6 * s / rows for name, s in used.items()})
    raise AssertionError(f"{contender.name}: the due time passed before everything was ready: raise LEAD_S")


def schedule(servers: Servers, rows: int, lead_s: float) -> float:
    """Make rows due at one moment; return it."""
    before = servers.now()
    servers.schedule(1, rows, DELAY_S, before + DELAY_S)
    servers.put_old_values(rows, DELAY_S)
    now = servers.now()
    due = now + lead_s + (now - before)
    servers.reschedule(DELAY_S, due)
    order(servers, rows, due)
    return due


def server_pids(servers: Servers) -> Pids:
    """List the processes of the servers."""
    return {"valkey": [servers.valkey.pid], "postgres": tree(servers.postgres.pid)}


def wait_for_schedule(servers: Servers, due: float) -> None:
    """Wait until no row is due or leased."""
    until = due + DELAY_S / 2
    while left := servers.client.zcount("schedule:", "-inf", until):
        assert servers.now() < due + TIMEOUT_S, f"{left} rows are still due or leased"
        time.sleep(0.002)


def compare_values(servers: Servers, name: str, rows: int) -> None:
    """Compare random values of the rows 1 to `rows` with the database. Raises AssertionError at a difference."""
    ids = random.sample(range(1, rows + 1), min(rows, CHECKED))
    values = servers.client.mget([f"inv:{n}" for n in ids])
    with servers.connect() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        found = cursor.execute("SELECT * FROM inventory WHERE id = ANY(%s)", [ids]).fetchall()
    wanted = {row["id"]: msgspec.json.decode(msgspec.json.encode(row)) for row in found}
    for n, value in zip(ids, values, strict=True):
        assert value is not None, f"{name}: row {n} is not in the cache"
        assert msgspec.json.decode(value) == wanted[n], f"{name}: row {n} is {value!r}, the database has {wanted[n]}"
