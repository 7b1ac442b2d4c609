"""The state of a table as a whole in Redis, and the walk over its rows."""

from collections.abc import Iterator
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.replication import run_replicated
from rowcache_tasks.schedule.row_id import decode_row_id
from rowcache_tasks.schedule.script import ScriptCall, load_script

SCAN_COUNT = 500
"""Members in one step of a walk: about 0.2 ms."""


class TableState:
    """A table as a whole. Needs a client without decode_responses; opens no connection by itself."""

    def __init__(self, client: "redis.Redis", table: Table) -> None:
        self._client = client
        self._keys, self._replicas, self._is_left = table.keys, table.replicas, table.is_left

    def pause_table(self, is_paused: bool, stamp: str = "") -> bool:
        """Pause the table, so that no dispatcher claims its rows, or resume it. `stamp`: when that was enqueued.

        Returns False when a change that was enqueued later was applied already.
        """
        return bool(self._run("pause_table", stamp, int(is_paused)))

    def paused_s(self) -> float | None:
        """Return for how many seconds the table has been paused; None: it is not."""
        paused: Any = self._client.hget(self._keys.state, "paused")
        seconds: Any = self._client.time()
        try:
            return max(0.0, float(seconds[0] + seconds[1] / 1e6) - float(paused))
        except (TypeError, ValueError):
            return None  # not paused, or a text of a foreign client

    def is_closed(self) -> bool:
        """Whether rows of this part were moved to others: it is paused for good."""
        return self._is_left and self._client.hget(self._keys.state, "closed") is not None

    def drop_table(self, stamp: str, limit: int = 1000) -> int:
        """Ignore all changes that were enqueued before the stamp; forget up to `limit` of them, and return how many."""
        return int(self._run("drop_table", stamp, limit))

    def count_rows(self) -> int:
        """Count the scheduled rows."""
        count: Any = self._client.zcard(self._keys.schedule)
        return int(count)

    def scan_row_ids(self) -> Iterator[list[str]]:
        """Yield the ids of all rows in the keys of the table, some hundred at a time, in bounded memory.

        A row that is there from the beginning to the end is yielded, perhaps twice.
        """
        keys = self._keys
        others: list[str] = []
        for key in (keys.schedule, keys.delay, keys.refreshed):
            cursor, is_first = 0, True
            while is_first or cursor:
                is_first = False
                reply: Any = self._client.zscan(key, cursor, count=SCAN_COUNT)
                cursor, members = int(reply[0]), [member for member, _ in reply[1]]
                if members:
                    found = self._without(members, others)
                    if found:
                        yield found
            others.append(key)

    def _run(self, name: str, *arguments: Any) -> Any:
        script = load_script(name)
        call = ScriptCall(script, script.keys_of(self._keys), arguments)
        return run_replicated(self._client, call, self._replicas)

    def _without(self, members: list[bytes], others: list[str]) -> list[str]:
        """Leave out the members that one of the other ZSETs has: they were yielded already."""
        asked: Any = members
        known: list[Any] = [self._client.zmscore(other, asked) for other in others]
        return list(
            dict.fromkeys(
                decode_row_id(member)
                for place, member in enumerate(members)
                if all(scores[place] is None for scores in known)
            )
        )
