"""Own what the scripts of a refresh cost the server: claim and commit of rows, and the commands in them.

A script's time is the processor time that the server's thread spends on the call, with reading the arguments and
writing the answer. The commands in it are measured by the server, with the clock on the wall: where a machine has more
to do than processors, some are interrupted and look long, so that the lower quartile counts.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import quantiles
from typing import Any

import redis

from benchmarks.stage import Stage
from rowcache_tasks.config.settings import Table
from rowcache_tasks.keys import QUEUED_BATCHES
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

LEASE_S = 600.0
DELAY_S = 3600.0

NOTED_US = 20
"""Shorter commands within a script are not noted one by one: that would take longer than they do."""

Durations = dict[str, float]
"""Command in a script -> microseconds of all its calls; "" for the script itself."""


def script_times(stage: Stage, size: int, rows: int, batches: int) -> dict[str, float]:
    """Claim and commit some batches of this size of the rows 1 to `rows`, all of which are scheduled and cached.

    The cache loses their values before, so that all of them are written. Gives "claim_rows: ZADD" -> microseconds a
    row, and so on; "claim_rows: Lua …" is what its commands do not take. Ends with an empty cache.
    """
    stage.schedule(1, rows, DELAY_S, stage.now())
    stage.client.delete(QUEUED_BATCHES)
    client = connect(stage.valkey.url, "profile")
    schedule = Schedule(client, Table("inv", "inventory"))
    claims: list[Durations] = []
    commits: list[Durations] = []
    try:
        for _ in range(batches):
            with noted(stage.client) as durations:
                claim, _due = schedule.claim_rows(size, LEASE_S)
                claims.append(durations)
            assert claim, "a batch is left over on the list of batches"
            keys = [f"inv:{row_id}" for row_id in claim.row_ids]
            values: dict[str, Any] = dict(zip(claim.row_ids, stage.client.mget(keys), strict=True))
            stage.client.delete(*keys)
            with noted(stage.client) as durations:
                schedule.commit_rows(claim, values)
                commits.append(durations)
    finally:
        client.close()
        stage.clear()
    return times_of("claim_rows", claims, size) | times_of("commit_rows", commits, size)


@contextmanager
def noted(client: "redis.Redis") -> Iterator[Durations]:
    """Fill in, at the end, what a script and the commands in it took; nobody else may use the server meanwhile."""
    durations: Durations = defaultdict(float)
    client.config_set("slowlog-log-slower-than", NOTED_US)
    client.slowlog_reset()
    asked = processor_us(client)
    before = processor_us(client)
    yield durations
    durations[""] = max(0.0, processor_us(client) - before - (before - asked))
    client.config_set("slowlog-log-slower-than", -1)
    entries: Any = client.slowlog_get(1000)
    for entry in entries:
        name = entry["command"].partition(b" ")[0].decode().upper()
        if entry["client_name"] == b"rowcache-profile" and name not in ("EVALSHA", "SCRIPT", "HELLO"):
            durations[name] += entry["duration"]


def processor_us(client: "redis.Redis") -> float:
    """Give the microseconds of processor time that the server's thread has used; the whole server's elsewhere."""
    found: Any = client.info("cpu")
    user, system = (found.get(f"used_cpu_{kind}_main_thread", found[f"used_cpu_{kind}"]) for kind in ("user", "sys"))
    return 1e6 * (user + system)


def times_of(script: str, calls: Sequence[Mapping[str, float]], rows: int) -> dict[str, float]:
    """Give part -> microseconds a row. The first call is left out: it loads the script."""
    names = {name for call in calls for name in call}
    typical = {name: quantiles((call.get(name, 0.0) for call in calls[1:]), n=4)[0] / rows for name in names}
    whole = typical.pop("")
    lua = max(0.0, whole - sum(typical.values()))
    return {f"{script}: Lua and arguments": lua} | {f"{script}: {name}": us for name, us in typical.items() if us}
