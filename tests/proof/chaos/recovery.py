"""Measurement of the recovery from a fault: rows lost, and seconds until rows are fresh and processes work."""

import json
import time
from dataclasses import dataclass

import redis
from proof.chaos.acknowledged import SCHEDULED

from rowcache_tasks.keys import Keys

GIVE_UP_S = 90.0
"""Seconds after which a row that is not fresh counts as lost."""

KEYS = Keys.of("")


@dataclass(frozen=True)
class RecoveryResult:
    """Recovery of the rows that were scheduled at the end of a fault."""

    fresh_after_s: float
    """Seconds until every row was fresh."""
    working_after_s: float
    """Seconds until every process had worked."""
    lost: list[str]
    idle: list[str]
    """Processes that have not worked."""


class Recovery:
    """Measures from the end of a fault."""

    def __init__(self, client, ledger, writer, pulse):
        self._client = client
        self._pulse = pulse
        self._ledger = ledger
        self._writer = writer

    def measure(self, check):
        """Wait until every row that is scheduled now has been refreshed, with at least its present version.

        Rows that the application drops or puts meanwhile do not count. `check` is called in each round.
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
            time.sleep(0.05)
        lost += [f"row {row_id} is not fresh after {GIVE_UP_S:.0f} s" for row_id in left]
        now = time.monotonic()
        return RecoveryResult(ended.get("rows", now) - started, ended.get("processes", now) - started, lost, idle)

    def _remove_settled(self, left, since, versions):
        """Remove the rows that are fresh, changed or lost from `left`; return a line for each lost row."""
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
        """Return a line for each row that was acknowledged as scheduled and is not in the schedule."""
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
        return {row_id: RowState(*found) for row_id, *found in zip(row_ids, *pipeline.execute(), strict=True)}


class RowState:
    """Schedule, time of the last refresh and version of a row in the cache."""

    def __init__(self, due, delay, refreshed, value):
        self.is_scheduled = due is not None and (delay or 0) > 0
        self.refreshed = refreshed or 0.0
        self.version = 0 if value is None else json.loads(value)["version"]


def read_stats(client):
    """Return the counters of the cache; retried, because connections may still be broken by a fault."""
    for left in (4, 3, 2, 1, 0):
        try:
            return {name.decode(): float(count) for name, count in client.hgetall(KEYS.stats).items()}
        except redis.RedisError:
            if not left:
                raise
    return {}
