"""Processor time of a table with 32 partitions on three nodes of a cluster, beside one server.

Counted is the time of the servers of the cache, for all that they do until each row that became due at one moment is
refreshed with a new value, and of a reader of 100 rows at a time. Dispatcher, worker and reader are the same for both;
the broker is another server. All connections are TCP.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from typing import Any

import msgspec
import redis
from support.cluster import Cluster
from support.free_port import free_port
from support.waiting import wait_until

from benchmarks.options import Options
from benchmarks.processor import Processor
from benchmarks.progress import say
from benchmarks.section import Section
from benchmarks.section import Table as Shown
from benchmarks.servers import Servers
from demo.servers import Valkey
from rowcache_tasks import RowCache
from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

PARTITIONS, NODES, MANY = 32, 3, 100
DELAY_S, LEAD_S, TIMEOUT_S = 3600.0, 1.0, 300.0
CALLS = 200
"""Reads of MANY rows in one repetition."""
CHUNK = 5000


@dataclass
class Place:
    """Servers of the cache, and the costs measured on them: microseconds."""

    url: str
    pids: Sequence[int]
    table: Table
    refreshes: list[list[float]] = field(default_factory=list)
    """Of each server, a row, in each round."""
    reads: list[tuple[float, float]] = field(default_factory=list)
    """Of the reader and of all servers, a call, in each repetition."""


def run(servers: Servers, options: Options) -> Section:
    """Measure both, one after the other."""
    rows, rounds = (20_000, 2) if options.is_quick else (200_000, 5)
    found, bare = {}, list[tuple[float, float]]()
    for name, place in (("one server", one_server), (f"{NODES} nodes", cluster)):
        with place() as each:
            say(f"cluster: {name}, {rows:,} rows")
            refresh(servers, each, rows, rounds)
            read(each, rounds, bare if each.table.partitions == 1 else None)
            found[name] = each
            servers.clear()
    one, nodes = found.values()
    return show(one, nodes, bare)


@contextmanager
def one_server() -> Iterator[Place]:
    """Run one server."""
    port = free_port()
    with Valkey(args=("--port", str(port))) as server:
        yield Place(f"redis://127.0.0.1:{port}/0", [server.pid], Table("inv", "inventory"))


@contextmanager
def cluster() -> Iterator[Place]:
    """Run the nodes of a cluster, without replicas."""
    with Cluster(NODES) as nodes:
        pids = [server.pid for server in nodes.servers]
        yield Place(nodes.url, pids, Table("inv", "inventory", partitions=PARTITIONS))


def refresh(servers: Servers, place: Place, rows: int, rounds: int) -> None:
    """Let all rows become due at one moment, with new values, and count until each is refreshed."""
    tables = {"inv": {"table": "inventory", "partitions": place.table.partitions}}
    deployment = servers.deployment(ROWCACHE_REDIS_URL=place.url, ROWCACHE_TABLES=json.dumps(tables))
    with connect(place.url, "bench") as client, servers.connect() as database:
        schedule, row_ids = Schedule(client, place.table), iter(map(str, range(1, rows + 1)))
        while some := [*islice(row_ids, CHUNK)]:
            schedule.put_rows(dict.fromkeys(some, (DELAY_S, DELAY_S)))
        try:
            deployment.start_beat()
            deployment.start_worker("worker", "--concurrency=2", "--loglevel=warning")
            for number in range(rounds + 1):
                database.execute("UPDATE inventory SET quantity = quantity + 1 WHERE id <= %s", [rows])
                due = time.time() + LEAD_S
                for part in place.table.parts:
                    client.zunionstore(part.keys.schedule, {part.keys.delay: due / DELAY_S})
                processor = Processor({str(n): [pid] for n, pid in enumerate(place.pids)})
                wait_until(lambda: not left(client, place.table), "all rows are refreshed", TIMEOUT_S, 0.2)
                if number:  # processes and scripts are warm
                    place.refreshes.append([1e6 * seconds / rows for seconds in processor.used().values()])
        finally:
            deployment.stop()


def left(client: "redis.Redis", table: Table) -> int:
    """Count the rows that are due, leased, or due soon."""
    pipeline = client.pipeline(transaction=False)
    for part in table.parts:
        pipeline.zcount(part.keys.schedule, "-inf", time.time() + DELAY_S / 2)
    return sum(pipeline.execute())


def read(place: Place, repetitions: int, bare: "list[tuple[float, float]] | None") -> None:
    """Read rows with RowCache and, of one server, with the bare client."""
    parts = [[str(n) for n in range(first, first + MANY)] for first in range(1, 10 * MANY, MANY)]
    with RowCache("inv", url=place.url, partitions=place.table.partitions, timeout=30.0) as cache:
        for _ in range(repetitions):
            place.reads.append(cost(place, cache.get_many, parts))
    if bare is not None:
        decode = msgspec.json.Decoder(dict).decode
        with redis.Redis.from_url(place.url) as client:
            mget: Any = client.mget

            def get_many(some: Sequence[str]) -> dict[str, Any]:
                values = mget([f"inv:{row_id}" for row_id in some])
                return {row_id: decode(value) for row_id, value in zip(some, values, strict=True)}

            for _ in range(repetitions):
                bare.append(cost(place, get_many, parts))


def cost(place: Place, call: Callable[[list[str]], Any], parts: Sequence[list[str]]) -> tuple[float, float]:
    """Return the processor time of a call in this process, and in the servers; microseconds."""
    for part in parts:
        assert None not in call(part).values()
    processor, used = Processor({"servers": place.pids}), time.process_time()
    for number in range(CALLS):
        call(parts[number % len(parts)])
    return 1e6 * (time.process_time() - used) / CALLS, 1e6 * processor.used()["servers"] / CALLS


def show(one: Place, nodes: Place, bare: Sequence[tuple[float, float]]) -> Section:
    """Compare both places."""
    alone = median(each for (each,) in one.refreshes)
    total, most = median(map(sum, nodes.refreshes)), median(map(max, nodes.refreshes))
    spread = median(max(costs) / min(costs) for costs in nodes.refreshes)
    section = Section("cluster", "Several servers")
    rows = [
        ["refresh: all servers, a row", f"{alone:.1f} µs", f"{total:.1f} µs", f"{total / alone:.2f}×", "≤ 1.10×"],
        ["refresh: busiest server, a row", f"{alone:.1f} µs", f"{most:.1f} µs", f"{most / alone:.2f}×", ""],
        ["capacity, by the busiest server", "1×", f"{alone / most:.2f}×", f"{alone / most:.2f}×", "≥ 2.70×"],
        ["busiest over idlest node", "", f"{spread:.2f}", "", "≤ 1.15"],
    ]
    for place, name in enumerate(("reader", "servers")):
        ours, mine, theirs = (median(each[place] for each in some) for some in (nodes.reads, one.reads, bare))
        label = f"get_many of {MANY}: {name}, a call"
        rows.append([label, f"{mine:.0f} µs", f"{ours:.0f} µs", f"{ours / mine:.2f}×", "≤ 2.50×"])
        label = f"… beside a bare MGET: {name}"
        rows.append([label, f"{theirs:.0f} µs", f"{ours:.0f} µs", f"{ours / theirs:.2f}×", "≤ 2.50×"])
    columns = ["processor time", "one server", f"{NODES} nodes, {PARTITIONS} partitions", "ratio", "target"]
    section.tables.append(Shown(columns, rows, "Median of the rounds."))
    section.figures = {"one": one.refreshes, "nodes": nodes.refreshes, "reads": [one.reads, nodes.reads, [*bare]]}
    return section
