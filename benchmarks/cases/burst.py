"""Burst: a transaction changes a million followed rows, beside rows of another table that are to be in time.

For each source of `rowcache follow`. The other rows are refreshed every two seconds. For a while after the transaction:
when all of its rows are planned, how many are due at a time, how late the other rows are, and the memory of the
follower. Meanwhile rows outside the burst change, the first as soon as the transaction is committed, and a reader waits
for each.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from support.waiting import wait_until

from benchmarks.cases.adaptive import late_ms
from benchmarks.options import Options
from benchmarks.progress import say
from benchmarks.section import Section, Table
from benchmarks.servers import Servers
from demo.servers import Child, Postgres

ROWS, OTHERS, OUTSIDE = 1_000_000, 400, 100
OTHER_S, WAIT_S = 2.0, 86_400.0
"""Intervals of the other rows, and of those of the burst: all that is refreshed of them was followed."""
WINDOW_S = 30.0
PARTS = """
DO $$ BEGIN FOR part IN 0..1999 LOOP
UPDATE big SET n = n + 1, at = clock_timestamp() WHERE id > greatest(part * 500, 100) AND id <= (part + 1) * 500;
END LOOP; END $$
"""
EACH = """
DO $$ BEGIN FOR part IN 101..100100 LOOP
UPDATE big SET n = n + 1, at = clock_timestamp() WHERE id = part;
END LOOP; END $$
"""
SOURCES = {
    "notify": ([], "UPDATE big SET n = n + 1, at = clock_timestamp() WHERE id > 100"),
    "notify, 2,000 statements": ([], PARTS),
    "notify, 100,000 statements": ([], EACH),
    "watermark": (["--column", "at"], "UPDATE big SET n = n + 1, at = clock_timestamp() WHERE id > 100"),
    "watermark, one time": (["--column", "at"], "UPDATE big SET n = n + 1, at = now() WHERE id > 100"),
    "slot": (["--source", "slot"], "UPDATE big SET n = n + 1, at = clock_timestamp() WHERE id > 100"),
}
TABLES = {"big": {"table": "big", "key": "id"}, "other": {"table": "other", "key": "id"}}


def run(servers: Servers, options: Options) -> Section:
    """Measure each source, with a database that has a logical log."""
    rows = ROWS // 10 if options.is_quick else ROWS
    figures, shown = {}, []
    with Postgres(args=("-c", "wal_level=logical", "-c", "shared_buffers=256MB")) as database:
        servers.database_url = database.create_database("burst")
        with servers.connect() as connection:
            connection.execute("CREATE TABLE big (id bigint PRIMARY KEY, n bigint, at timestamptz DEFAULT now())")
            connection.execute("INSERT INTO big SELECT generate_series(1, %s), 0", [rows])
            connection.execute("CREATE INDEX ON big (at, id)")
            connection.execute("CREATE TABLE other AS SELECT * FROM big WHERE id <= %s", [OTHERS])
            connection.execute("ALTER TABLE other ADD PRIMARY KEY (id)")
        for name, (source, statement) in SOURCES.items():
            figures[name] = found = measure(servers, rows, source, statement)
            say(f"burst: {name}: {found}")
            shown.append([name, *("–" if found[each] is None else f"{found[each]:,.4g}" for each in COLUMNS)])
    table = Table(["source", *COLUMNS.values()], shown, f"{rows:,} rows; {WINDOW_S:g} s after the transaction.")
    return Section("burst", "A burst of changes", [table], figures=figures)


COLUMNS = {
    "transaction_s": "transaction, s",
    "memory_mb": "follower, MB at most",
    "grown_mb": "grown by, MB",
    "planned_s": "all planned after, s",
    "due": "due at a time",
    "followed": "refreshed in the window",
    "late_p99_ms": "others late p99, ms",
    "calm_p99_ms": "before, ms",
    "first_s": "first change outside seen after, s",
    "seen_s": "any seen after, s, at most",
}


def measure(servers: Servers, rows: int, source: list[str], statement: str) -> dict[str, float | None]:
    """Change all rows at once; return the figures."""
    servers.clear()
    expected = min(rows, 100_000 if statement == EACH else rows) - OUTSIDE
    with following(servers, source) as follower, servers.connect() as connection:
        schedule(servers, rows)
        wait_until(lambda: servers.client.zcard("refreshed:other") == OTHERS, "the other rows are cached", 120)
        calm = counts(servers)
        time.sleep(WINDOW_S / 3)
        before, memory_mb, began = counts(servers), peak_mb(follower), time.monotonic()
        connection.execute(statement)
        took_s, most, planned_s = time.monotonic() - began, 0, None
        seen: list[float] = []
        writer = threading.Thread(target=change, args=(servers, began + took_s + WINDOW_S, seen))
        writer.start()
        while (passed_s := time.monotonic() - began - took_s) < WINDOW_S:
            now = servers.now()
            most = max(most, servers.client.zcount("schedule:big", "-inf", now))
            planned = servers.client.zcount("schedule:big", "-inf", now + WAIT_S / 2)
            if planned_s is None and planned + servers.client.zcard("refreshed:big") >= expected:
                planned_s = passed_s
            time.sleep(0.05)
        after, refreshed = counts(servers), servers.client.zcard("refreshed:big")
        writer.join()
        return {
            "transaction_s": took_s,
            "memory_mb": peak_mb(follower),
            "grown_mb": peak_mb(follower) - memory_mb,
            "due": most,
            "followed": refreshed,
            "late_p99_ms": late_ms(before, after),
            "calm_p99_ms": late_ms(calm, before),
            "planned_s": planned_s,
            "first_s": seen[0],
            "seen_s": max(seen),
        }


def change(servers: Servers, until: float, seen: list[float]) -> None:
    """Change rows outside the burst, two a second; note after how many seconds a reader sees each."""
    with servers.connect() as connection:
        for row_id in range(1, OUTSIDE + 1):
            statement = "UPDATE big SET n = n + 1, at = clock_timestamp() WHERE id = %s RETURNING n"
            (n,) = connection.execute(statement, [row_id]).fetchone() or (0,)
            began = time.monotonic()
            is_seen = partial(is_cached, servers, row_id, n)
            wait_until(is_seen, "the change is seen", 600)
            seen.append(time.monotonic() - began)
            if time.monotonic() > until:
                break
            time.sleep(0.5)


def is_cached(servers: Servers, row_id: int, n: int) -> bool:
    """Return whether a reader sees a row with a value."""
    return bool(json.loads(servers.client.get(f"big:{row_id}") or "{}").get("n") == n)


@contextmanager
def following(servers: Servers, source: list[str]) -> Iterator[Child]:
    """Run a dispatcher, a worker and a follower of the table; remove the SQL of its source in the end."""
    deployment: Any = servers.deployment(ROWCACHE_TABLES=json.dumps(TABLES))
    deployment.database_url = deployment.env["ROWCACHE_DATABASE_URL"] = servers.database_url
    log = Path(servers.folder / "follow.log")
    with servers.connect() as connection:
        if not source or "slot" in source:
            (servers.folder / "follow-sql.log").unlink(missing_ok=True)
            printing = deployment.start("follow-sql", "rowcache", "follow", "big", *source, "--sql")
            wait_until(lambda: printing.poll() is not None, "the SQL is printed", 60)
            sql = deployment.log("follow-sql")
            for part in sql.splitlines() if "slot" in source else [sql]:
                connection.execute(part)
        try:
            deployment.start_beat()
            deployment.start_worker()
            log.unlink(missing_ok=True)
            follower = deployment.start("follow", "rowcache", "follow", "big", *source)
            wait_until(lambda: "following big by" in deployment.log("follow"), "it follows", 60)
            yield follower
        finally:
            deployment.stop()
            connection.execute("DROP PUBLICATION IF EXISTS rowcache")
            drop_slots(connection)
            names = connection.execute(
                "SELECT tgname FROM pg_trigger WHERE tgrelid = 'big'::regclass AND NOT tgisinternal"
            ).fetchall()
            for (name,) in names:
                connection.execute(f'DROP TRIGGER "{name}" ON big')


def drop_slots(connection: Any) -> None:
    """Drop the slots; a look that was killed is ended first, which the server does by itself only when it sends."""
    connection.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
    is_active = "SELECT bool_or(active) FROM pg_replication_slots"
    wait_until(lambda: not connection.execute(is_active).fetchone()[0], "no slot is in use", 60)
    connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


def schedule(servers: Servers, rows: int) -> None:
    """Schedule the rows of the burst for tomorrow, the others for now, one after the other."""
    now = servers.now()
    for first in range(1, rows + 1, 10_000):
        row_ids = [str(n) for n in range(first, min(first + 10_000, rows + 1))]
        servers.client.zadd("delay:big", dict.fromkeys(row_ids, WAIT_S))
        servers.client.zadd("schedule:big", dict.fromkeys(row_ids, now + WAIT_S))
    others = {str(n): now + n / OTHERS * OTHER_S for n in range(1, OTHERS + 1)}
    servers.client.zadd("delay:other", dict.fromkeys(others, OTHER_S))
    servers.client.zadd("schedule:other", others)


def counts(servers: Servers) -> dict[str, int]:
    """Read the statistics of the other rows."""
    return {name.decode(): int(count) for name, count in servers.client.hgetall("stats:other").items()}


def peak_mb(process: Child) -> float:
    """Return the most memory that a process has had."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
