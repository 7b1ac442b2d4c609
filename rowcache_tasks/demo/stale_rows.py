"""Count of rows whose cached value may be older than a given time."""

from collections.abc import Iterable
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.rows import cut

__all__ = ["StaleRows"]

ROUNDING_S = 1e-4
"""A due time minus the delay is the time of the claim except for the last digits."""


class StaleRows:
    """Rows whose value may have been read before `since` (Unix time of the server).

    A committed row is due one delay after its claim, and was read after the claim. While it is claimed, its score is
    the end of the lease: with a lease longer than the delay, score - delay is later than the last commit. So the value
    is new if since < schedule - delay <= refreshed.
    """

    def __init__(self, client: "redis.Redis", table: Table, row_ids: Iterable[str], since: float) -> None:
        self._client = client
        self._keys = table.keys
        self._left = list(row_ids)
        self._since = since

    def count(self) -> int:
        """Count them; a row that is new once stays new."""
        committed = int(self._client.zcount(self._keys.refreshed, f"({self._since:.6f}", "+inf"))
        scheduled = int(self._client.zcard(self._keys.schedule))
        if committed < scheduled:  # two cheap commands, as long as single rows do not matter
            return scheduled - committed
        self._left = [row_id for batch in cut(self._left, 1000) for row_id in self._stale(batch)]
        return len(self._left)

    def _stale(self, row_ids: list[str]) -> list[str]:
        pipeline: Any = self._client.pipeline(transaction=True)
        for zset in (self._keys.schedule, self._keys.delay, self._keys.refreshed):
            pipeline.zmscore(zset, row_ids)
        scores = zip(row_ids, *pipeline.execute(), strict=True)
        return [row_id for row_id, *times in scores if None in times or not self._is_new(*times)]

    def _is_new(self, due: float, delay: float, refreshed: float) -> bool:
        return self._since < due - delay <= refreshed + ROUNDING_S
