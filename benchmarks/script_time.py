"""Own what the scripts of a refresh cost the server: claim and commit of rows, and the commands in them.

Measured with nothing else going on: the server takes the time of its commands from the clock on the wall, and on a
machine with more to do than processors a script is interrupted now and then. For the same reason it is the lower
quartile of the calls that counts.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import quantiles
from typing import Any

import redis

from benchmarks.stage import Stage
from rowcache_tasks.config import Table
from rowcache_tasks.connection import connect
from rowcache_tasks.keys import QUEUED_BATCHES
from rowcache_tasks.schedule import Schedule

LEASE_S = 600.0
DELAY_S = 3600.0

NOTED_US = 20
"""Shorter commands within a script are not noted one by one: that would take longer than they do."""

Durations = dict[str, list[int]]
"""Command -> microseconds of each; "" for the script itself."""


def script_times(stage: Stage, size: int, rows: int, batches: int) -> dict[str, float]:
    """Claim and commit some batches of this size of the rows 1 to `rows`, all of which are scheduled and cached.

    The cache loses their values before, so that all of them are written. Gives "claim_rows: ZADD" -> microseconds a
    row, and so on; "claim_rows: Lua" is what its commands do not take. Ends with an empty cache.
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
            values = dict(zip(claim.row_ids, stage.client.mget(keys), strict=True))
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
    """Fill in, at the end, the durations of the commands of one script; all that others do meanwhile is left out."""
    durations: Durations = defaultdict(list)
    client.config_set("slowlog-log-slower-than", NOTED_US)
    client.slowlog_reset()
    yield durations
    client.config_set("slowlog-log-slower-than", -1)
    entries: Any = client.slowlog_get(1000)
    for entry in entries:
        name = entry["command"].partition(b" ")[0].decode().upper()
        if entry["client_name"] == b"rowcache-profile":
            durations["" if name == "EVALSHA" else name].append(entry["duration"])


def times_of(script: str, calls: Sequence[Mapping[str, Sequence[int]]], rows: int) -> dict[str, float]:
    """Give part -> microseconds a row. The first call is left out: it loads the script."""

    def typical(name: str) -> float:
        return quantiles((sum(call.get(name, ())) for call in calls[1:]), n=4)[0] / rows

    names = {name for call in calls for name in call if name not in ("", "SCRIPT", "HELLO")}
    found = {name: typical(name) for name in names}
    lua = max(0.0, typical("") - sum(found.values()))
    return {f"{script}: Lua": lua} | {f"{script}: {name}": time for name, time in found.items() if time}
