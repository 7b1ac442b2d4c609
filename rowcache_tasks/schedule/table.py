"""The state of a table as a whole in Redis, and the walk over its rows."""

from collections.abc import Iterator, Sequence
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.cut import cut
from rowcache_tasks.schedule.row_id import decode_row_id
from rowcache_tasks.schedule.script import load_script
from rowcache_tasks.schedule.servers import run_replicated

SCAN_COUNT = 500  # members in one step of a walk: about 0.2 ms


class TableState:
    """A table as a whole: all its parts, each change of which has one stamp. Opens no connection by itself.

    Needs a client without decode_responses.
    """

    def __init__(self, client: "redis.Redis", table: Table) -> None:
        self._client, self._parts = client, table.parts

    def pause_table(self, is_paused: bool, stamp: str = "") -> bool:
        """Pause the table, so that no dispatcher claims its rows, or resume it. `stamp`: when that was enqueued.

        Returns False when a change that was enqueued later was applied already.
        """
        parts = [part for part in self._parts if is_paused or not self._is_closed(part)]
        return sum(int(self._run(part, "pause_table", stamp, int(is_paused))) for part in parts) > 0

    def paused_s(self) -> float | None:
        """Return for how many seconds the table has been paused; None: it is not."""
        paused = [self._paused_s(part) for part in self._parts if not self._is_closed(part)]
        return max((seconds for seconds in paused if seconds is not None), default=None)

    def _paused_s(self, part: Table) -> float | None:
        paused: Any = self._client.hget(part.keys.state, "paused")
        seconds: Any = self._client.time()
        try:
            return max(0.0, float(seconds[0] + seconds[1] / 1e6) - float(paused))
        except (TypeError, ValueError):
            return None  # not paused, or a text of a foreign client

    def _is_closed(self, part: Table) -> bool:
        """Whether rows of a part were moved to others: it is paused for good."""
        return part.is_left and self._client.hget(part.keys.state, "closed") is not None

    def drop_table(self, stamp: str, limit: int = 1000) -> int:
        """Ignore all changes that were enqueued before the stamp; forget up to `limit` of them, and return how many."""
        return sum(int(self._run(part, "drop_table", stamp, limit)) for part in self._parts)

    def count_rows(self) -> int:
        """Count the scheduled rows."""
        counts: Any = [self._client.zcard(part.keys.schedule) for part in self._parts]
        return sum(counts)

    def scan_row_ids(self) -> Iterator[list[str]]:
        """Yield the ids of all rows in the keys of the table, some hundred at a time, in bounded memory.

        A row that is there from the beginning to the end is yielded, perhaps twice.
        """
        for part in self._parts:
            others: list[str] = []
            for key in (part.keys.schedule, part.keys.delay, part.keys.refreshed):
                for scanned in cut(self._client.zscan_iter(key, count=SCAN_COUNT), SCAN_COUNT):
                    if found := self._without([member for member, _ in scanned], others):
                        yield found
                others.append(key)

    def _run(self, part: Table, name: str, *arguments: Any) -> Any:
        return run_replicated(self._client, load_script(name).call(part.keys, *arguments), part.replicas)

    def _without(self, members: list[bytes], others: Sequence[str]) -> list[str]:
        """Leave out the members that one of the other ZSETs has: they were yielded already."""
        asked: Any = members
        known: list[Any] = [self._client.zmscore(other, asked) for other in others if members]
        found = dict(zip(members, zip(*known, strict=True), strict=True)) if known else dict.fromkeys(members, ())
        return [decode_row_id(member) for member, scores in found.items() if not any(s is not None for s in scores)]
