"""Own the judgement after a fault: is every row still scheduled, and when was each fresh again?"""

import json
import time
from dataclasses import dataclass

import redis
from proof.chaos.ledger import SCHEDULED

from rowcache_tasks.keys import Keys

GIVE_UP_S = 90.0
"""A row that is not fresh after so long is lost, whatever the schedule says."""

KEYS = Keys.of("")


@dataclass(frozen=True)
class Recovered:
    """What became of the rows that were scheduled when a fault ended."""

    fresh_after_s: float
    """Until every row was fresh."""
    working_after_s: float
    """Until every process had done some of its work."""
    lost: list[str]
    idle: list[str]
    """Processes that never did."""


class Recovery:
    """Measures from the end of a fault on."""

    def __init__(self, client, ledger, writer, pulse):
        self._client = client
        self._pulse = pulse
        self._ledger = ledger
        self._writer = writer

    def measure(self, check):
        """Wait until every row that is scheduled now was refreshed and has at least the version that it has now.

        Rows that the application drops or puts meanwhile do not count. `check` is called all the time.
        """
        started = time.monotonic()
        self._pulse.mark()
        left = self._ledger.rows(SCHEDULED)
        seconds, microseconds = self._client.time()
        since, versions = seconds + microseconds / 1e6, self._writer.versions()
        lost, idle, ended = [], ["all"], {}
        while (left or idle) and time.monotonic() - started < GIVE_UP_S:
            check()
            lost += self._remove_settled(left, since, versions)
            if not left:
                ended.setdefault("rows", time.monotonic())
            if idle and not (idle := self._pulse.idle()):
                ended["processes"] = time.monotonic()
            time.sleep(0.02)
        lost += [f"row {row_id} is not fresh after {GIVE_UP_S:.0f} s" for row_id in left]
        now = time.monotonic()
        return Recovered(ended.get("rows", now) - started, ended.get("processes", now) - started, lost, idle)

    def _remove_settled(self, left, since, versions):
        """Remove the rows that need no more waiting: fresh ones, changed ones, lost ones; returns the lost ones."""
        lost = []
        for row_id, state in self._look(list(left)).items():
            is_same = self._ledger.is_still(row_id, left[row_id])
            if is_same and not state.is_scheduled:
                lost.append(f"row {row_id} is not in the schedule any more")
            elif is_same and not (state.refreshed > since and state.version >= versions[row_id]):
                continue
            del left[row_id]
        return lost

    def find_lost(self):
        """The rows that the application counts on and that are not in the schedule."""
        rows = self._ledger.rows(SCHEDULED)
        states = self._look(list(rows))
        return [
            f"row {row_id} is not in the schedule"
            for row_id, state in states.items()
            if not state.is_scheduled and self._ledger.is_still(row_id, rows[row_id])
        ]

    def _look(self, row_ids):
        if not row_ids:
            return {}
        pipeline = self._client.pipeline(transaction=True)
        for key in (KEYS.schedule, KEYS.delay, KEYS.refreshed):
            pipeline.zmscore(key, row_ids)
        pipeline.mget([KEYS.value(row_id) for row_id in row_ids])
        return {row_id: State(*found) for row_id, *found in zip(row_ids, *pipeline.execute(), strict=True)}


class State:
    """What the cache holds about one row."""

    def __init__(self, due, delay, refreshed, value):
        self.is_scheduled = due is not None and (delay or 0) > 0
        self.refreshed = refreshed or 0.0
        self.version = 0 if value is None else json.loads(value)["version"]


def read_stats(client):
    """The counters of the cache, after some tries: the first may meet connections that a fault left behind."""
    for left in (4, 3, 2, 1, 0):
        try:
            return {name.decode(): float(count) for name, count in client.hgetall(KEYS.stats).items()}
        except redis.RedisError:
            if not left:
                raise
    return {}
