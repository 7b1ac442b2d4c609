"""Own the wait until every cached value was read from the database after a given moment."""

from collections.abc import Iterable
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.rows import cut

ROUNDING_S = 1e-4
"""A due time less the delay is the time of the claim but for the last digits."""


class Settlement:
    """Counts the rows whose value may have been read before `since` (Unix time by the server's clock).

    A committed row is due at the time of its claim + its delay, and it was read after the claim. While a claim is
    out, its score is the end of the lease instead: with a lease longer than the delay, that less the delay is later
    than the last commit. So the value is new when since < schedule - delay <= refreshed.
    """

    def __init__(self, client: "redis.Redis", table: Table, row_ids: Iterable[str], since: float) -> None:
        self._client = client
        self._keys = table.keys
        self._left = list(row_ids)
        self._since = since

    def count_left(self) -> int:
        """Count them again: rows that are new once stay so."""
        keys = self._keys
        # One cheap command as long as there is no need to look at each row.
        committed = int(self._client.zcount(keys.refreshed, f"({self._since:.6f}", "+inf"))
        scheduled = int(self._client.zcard(keys.schedule))
        if committed < scheduled:
            return scheduled - committed
        self._left = [row_id for batch in cut(self._left, 1000) for row_id in self._old(batch)]
        return len(self._left)

    def _old(self, row_ids: list[str]) -> list[str]:
        keys = self._keys
        pipeline: Any = self._client.pipeline(transaction=True)
        for zset in (keys.schedule, keys.delay, keys.refreshed):
            pipeline.zmscore(zset, row_ids)
        scores = zip(row_ids, *pipeline.execute(), strict=True)
        return [row_id for row_id, *times in scores if None in times or not self._is_new(*times)]

    def _is_new(self, due: float, delay: float, refreshed: float) -> bool:
        return self._since < due - delay <= refreshed + ROUNDING_S
