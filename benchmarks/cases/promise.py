"""Promise: rows are no older than max_staleness, as an independent observer finds them.

The rows are those of a view that adds the time at which the database read the row. pgbench changes rows meanwhile, and
a reader reads them. The observer reads values from Redis and rows from the database, and nothing else of this package:

- by time: a value is older than promised when the database read it longer ago;
- by version: when the database has a newer version of the row, written longer ago.

Beside it stand the share that the package states, once a second and in its sums of the hours, and its refreshes over
those of a timer that refreshes each row once in max_staleness.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import msgspec
import psycopg
from support.waiting import wait_until

from benchmarks.contender import PYTHON, ours
from benchmarks.options import Options
from benchmarks.processor import Processor
from benchmarks.progress import say
from benchmarks.round import server_pids
from benchmarks.section import Section, Table
from benchmarks.servers import Servers
from rowcache_tasks.config.settings import Settings, parse_settings
from rowcache_tasks.ops.overview import read_overview

MAX_STALENESS_S, TARGET = 2.0, 0.999
SIZES = {5_000: 60.0, 20_000: 600.0}
"""Rows -> seconds for which they are observed."""
QUICK_SIZES = {2_000: 15.0}
SETTLE_S = 15.0
"""Time before, in which the margin finds its size."""
SAMPLE = 500
"""Rows that the observer reads at a time."""
LOOK_S = 0.1
CHANGES, READS = 200, 500
"""Rows that are changed, and read, in a second."""

TABLE = """
DROP VIEW IF EXISTS promised;
DROP TABLE IF EXISTS changing;
CREATE TABLE changing AS
    SELECT *, 1::bigint AS version, extract(epoch FROM clock_timestamp())::float8 AS changed_at
    FROM inventory WHERE id <= %s;
ALTER TABLE changing ADD PRIMARY KEY (id);
CREATE VIEW promised AS SELECT *, extract(epoch FROM clock_timestamp())::float8 AS read_at FROM changing
"""
CHANGE = """\\set id random(1, {rows})
UPDATE changing SET version = version + 1, changed_at = extract(epoch FROM clock_timestamp()) WHERE id = :id;
"""
VERSIONS = "SELECT id, version, changed_at FROM changing WHERE id = ANY(%s)"


@dataclass
class Observation:
    """Figures of one size."""

    rows: int
    seconds: float = 0.0
    looks: int = 0
    by_time: int = 0
    """Values that the database read longer ago than promised, or that are absent."""
    by_version: int = 0
    """Values of which the database has had a newer version for longer than promised."""
    stated: list[float] = field(default_factory=list)
    """`achieved` of each look at the status."""
    states: Counter[str] = field(default_factory=Counter)
    """State of the promise -> looks."""
    hours: float = 0.0
    """Share of the time within the promise by the sums of the hours."""
    refreshes: int = 0
    cores: float = 0.0

    @property
    def over_timer(self) -> float:
        """Refreshes over those of a timer that refreshes each row once in max_staleness."""
        return self.refreshes / (self.rows * self.seconds / MAX_STALENESS_S)

    def figures(self) -> dict[str, Any]:
        """Return the figures for results.json."""
        return {
            "seconds": self.seconds,
            "observed_by_time": 1 - self.by_time / self.looks,
            "observed_by_version": 1 - self.by_version / self.looks,
            "stated": fmean(self.stated),
            "hours": self.hours,
            "kept": self.states["kept"] / self.states.total(),
            "broken": self.states["broken"] / self.states.total(),
            "refreshes": self.over_timer,
            "cores": self.cores,
        }


def run(servers: Servers, options: Options) -> Section:
    """Observe each size."""
    found = []
    for rows, seconds in (QUICK_SIZES if options.is_quick else SIZES).items():
        say(f"promise: {rows:,} rows for {seconds:.0f} s")
        servers.clear()
        found.append(measure(servers, rows, seconds))
    return section(found)


def measure(servers: Servers, rows: int, seconds: float) -> Observation:
    """Observe so many rows for so long."""
    with servers.connect() as connection:
        connection.execute(psycopg.ClientCursor(connection).mogrify(TABLE, [rows]))
        connection.execute("VACUUM ANALYZE changing")
        connection.execute("ALTER TABLE changing SET (autovacuum_enabled = on)")
    tables = {"inv": {"table": "promised", "key": "id", "max_staleness": MAX_STALENESS_S, "target": TARGET}}
    settings = parse_settings({"rowcache_redis_url": servers.valkey.url, "rowcache_tables": tables})
    with ours(ROWCACHE_TABLES=json.dumps(tables))(servers) as pids, load(servers, rows, SETTLE_S + seconds):
        begin(servers, rows)
        wait_until(lambda: servers.client.zcard("refreshed:") == rows, "each row is cached")
        time.sleep(SETTLE_S)
        return observe(servers, settings, Processor(server_pids(servers) | pids), Observation(rows), seconds)


def begin(servers: Servers, rows: int) -> None:
    """Schedule the rows, due evenly over max_staleness."""
    now = servers.now()
    due = {str(n): now + n * MAX_STALENESS_S / rows for n in range(1, rows + 1)}
    servers.client.zadd("delay:", dict.fromkeys(due, MAX_STALENESS_S))
    servers.client.zadd("schedule:", due)


@contextmanager
def load(servers: Servers, rows: int, seconds: float) -> Iterator[None]:
    """Change and read rows meanwhile."""
    script = servers.folder / "change.sql"
    script.write_text(CHANGE.format(rows=rows))
    script.chmod(0o644)
    options = ["-n", "-c", "2", "-R", str(CHANGES), "-T", str(int(seconds + 600)), "-f", str(script)]
    argv = servers.postgres.tool("pgbench", *options, "-d", "bench")
    reading = [*PYTHON, "benchmarks.programs.reads", str(rows), str(READS)]
    children = [servers.start(name, argv) for name, argv in (("pgbench", argv), ("reads", reading))]
    try:
        yield
        ended = [child.argv[0] for child in children if child.poll() is not None]
        assert not ended, f"{ended} ended:\n{servers.log('pgbench')}{servers.log('reads')}"
    finally:
        for child in children:
            child.kill()


def observe(
    servers: Servers, settings: Settings, processor: Processor, found: Observation, seconds: float
) -> Observation:
    """Look at values, versions and the stated promise until the time is over."""
    began, sums, committed = time.monotonic(), hour_sums(servers), count_commits(servers)
    next_at, state_at = began, began
    with servers.connect() as database:
        while (now := time.monotonic()) < began + seconds:
            compare(servers, database, found)
            if now >= state_at:
                state_at = now + 1
                promise = read_overview(servers.client, settings, with_clients=False).promises.get("inv")
                assert promise
                assert promise.achieved is not None
                found.stated.append(promise.achieved)
                found.states[str(promise.state)] += 1
            next_at = max(next_at + LOOK_S, now)
            time.sleep(max(0.0, next_at - time.monotonic()))
    found.seconds = time.monotonic() - began
    found.refreshes = count_commits(servers) - committed
    found.cores = sum(processor.used().values()) / found.seconds
    looked_s, beyond_s = (after - before for after, before in zip(hour_sums(servers), sums, strict=True))
    found.hours = 1 - beyond_s / looked_s if looked_s else 0.0
    return found


def compare(servers: Servers, database: psycopg.Connection, found: Observation) -> None:
    """Compare some values with the database, whose clock is that of Redis: they are on one machine."""
    ids = random.sample(range(1, found.rows + 1), min(found.rows, SAMPLE))
    pipeline: Any = servers.client.pipeline(transaction=True)
    values, (seconds, microseconds) = pipeline.mget([f"inv:{n}" for n in ids]).time().execute()
    now = seconds + microseconds / 1e6
    newest = {row[0]: row[1:] for row in database.execute(VERSIONS, [ids]).fetchall()}
    for n, value in zip(ids, values, strict=True):
        row = msgspec.json.decode(value) if value else None
        version, changed_at = newest[n]
        found.looks += 1
        found.by_time += row is None or now - row["read_at"] > MAX_STALENESS_S
        found.by_version += row is None or (row["version"] < version and now - changed_at > MAX_STALENESS_S)


def hour_sums(servers: Servers) -> tuple[float, float]:
    """Return the seconds of all hours, and those beyond the promise."""
    texts = servers.client.hmget("state:", [f"hour:{hour}" for hour in range(24)])
    pairs = [text.split()[1:] for text in texts if text]
    return sum(float(seconds) for seconds, _ in pairs), sum(float(beyond) for _, beyond in pairs)


def count_commits(servers: Servers) -> int:
    """Return the accepted refreshes so far."""
    return sum(int(count or 0) for count in servers.client.hmget("stats:", "refreshed", "unchanged"))


COLUMNS = [
    *("rows", "observed for", "by time", "by version", "stated", "of the hours"),
    *("looks: kept", "at risk", "broken", "refreshes over 1 / max_staleness", "cores"),
]
CAPTION = (
    f"Promised: {100 * TARGET:g} % of the rows within {MAX_STALENESS_S:g} s, while {CHANGES} rows a second are changed "
    f"and {READS} are read. Shares of the values within the promise: as the observer finds them, by the time at which "
    "the database read the value and by versions of the row; as stated, by looks at the status and by the sums of the "
    "hours. Cores: processor time of this package and its servers."
)


def section(found: list[Observation]) -> Section:
    """Make the table and the figures."""
    rows = []
    for each in found:
        figures = each.figures()
        shares = [figures[name] for name in ("observed_by_time", "observed_by_version", "stated", "hours")]
        states = [each.states[state] / each.states.total() for state in ("kept", "at risk", "broken")]
        rows.append(
            [
                *(f"{each.rows:,}", f"{each.seconds:.0f} s", *(f"{100 * share:.2f} %" for share in shares)),
                *(f"{100 * share:.0f} %" for share in states),
                *(f"{each.over_timer:.2f}×", f"{each.cores:.2f}"),
            ]
        )
    figures = {str(each.rows): each.figures() for each in found}
    return Section("promise", "A promise, and an observer", [Table(COLUMNS, rows, CAPTION)], [], figures)
