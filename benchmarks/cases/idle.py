"""Cost of idle processes, and round trips of a full batch."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from support.deployment import Deployment
from support.waiting import wait_until

from benchmarks.contender import BATCH_SIZE
from benchmarks.options import Options
from benchmarks.processor import Processor, tree
from benchmarks.progress import say
from benchmarks.round_trips import count_round_trips
from benchmarks.section import Section, Table
from benchmarks.servers import ROOT, Servers
from demo.servers import Child

ROWS = 10_000
"""Scheduled rows, none due for an hour."""

SETTLE_S = 1.5
"""Time after the start for what is done only once."""

Start = Callable[[Deployment], list[Child]]


@dataclass(frozen=True)
class Idle:
    """Cost of a process a second."""

    round_trips: float
    """Reads of the server from connections; a script is one, and so is a pipeline."""
    commands: float
    """Commands of the server, those of scripts included."""
    processor_percent: float
    """Processor time of the process; % of a core."""
    server_percent: float
    """Processor time of the server; % of a core."""


def run(servers: Servers, options: Options) -> Section:
    """Measure idle processes one after another, then full batches."""
    seconds = 3.0 if options.is_quick else 10.0
    starts = {"a dispatcher": start_dispatcher(1), "a worker of two processes": start_worker}
    if not options.is_quick:
        starts["a dispatcher of ten tables"] = start_dispatcher(10)
    found = {}
    for name, start in starts.items():
        say(f"idle: {name}")
        found[name] = measure(servers, seconds, start)
    tables = [idle_table(found)]
    figures: dict[str, object] = {"idle": {name: asdict(each) for name, each in found.items()}}
    if not options.is_quick:  # waits for whole batches, which a busy machine makes long
        say("idle: full batches")
        trips = count_round_trips(servers, batches=20)
        tables.append(trips_table(trips))
        figures["round_trips"] = trips
    return Section("idle", "Idle processes, and round trips", tables, figures=figures)


def start_dispatcher(tables: int) -> Start:
    """Start a dispatcher of a number of tables."""
    known = {f"t{n}": {"table": "inventory", "namespace": f"t{n}" if n else ""} for n in range(tables)}

    def start(deployment: Deployment) -> list[Child]:
        child = deployment.start_beat("beat", ROWCACHE_TABLES=json.dumps(known))
        wait_until(lambda: "dispatching t0" in deployment.log("beat"), "the dispatcher runs")
        return [child]

    return start


def start_worker(deployment: Deployment) -> list[Child]:
    """Start a worker of two processes."""
    child = deployment.start_worker()
    wait_until(lambda: " ready." in deployment.log("worker"), "the worker runs")
    return [child]


def measure(servers: Servers, seconds: float, start: Start, checkout: Path = ROOT) -> Idle:
    """Start processes, and count what they do for a number of seconds."""
    servers.clear()
    servers.schedule(1, ROWS, 3600.0, servers.now() + 3600)
    for log in ("beat", "worker"):
        (servers.folder / f"{log}.log").unlink(missing_ok=True)
    deployment = servers.deployment(checkout)
    try:
        children = start(deployment)
        time.sleep(SETTLE_S)
        ours = [pid for child in children for pid in tree(child.pid)]
        processor = Processor({"ours": ours, "server": [servers.valkey.pid]})
        before, started = counted(servers), time.monotonic()
        time.sleep(seconds)
        used, took = processor.used(), time.monotonic() - started
        after = counted(servers)
    finally:
        deployment.stop()
    reads, commands = (after[n] - before[n] - 1 for n in (0, 1))  # without the second look
    return Idle(reads / took, commands / took, 100 * used["ours"] / took, 100 * used["server"] / took)


def counted(servers: Servers) -> tuple[int, int]:
    """Count the reads from connections and the commands of the server."""
    info: dict[str, int] = servers.client.info("stats")
    return info["total_reads_processed"], info["total_commands_processed"]


def idle_table(found: dict[str, Idle]) -> Table:
    """Show what idle processes cost."""
    rows = [
        [name, *(f"{value:.{digits}f}" for value, digits in zip(asdict(each).values(), (1, 1, 2, 2), strict=True))]
        for name, each in found.items()
    ]
    columns = ["idle", "round trips to Redis/s", "commands/s", "processor, % of a core", "Redis, % of a core"]
    caption = f"{ROWS:,} rows are scheduled, none is due. A script is one round trip and several commands."
    return Table(columns, rows, caption)


def trips_table(found: float) -> Table:
    """Show the round trips of a full batch."""
    caption = (
        f"A worker process and a batch of {BATCH_SIZE} rows; the broker is left out. What it sends to both servers "
        "before it waits for either is one round trip."
    )
    return Table(["round trips to cache and database"], [[f"{found:.2f}"]], caption)
