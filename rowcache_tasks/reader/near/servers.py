"""Near cache of several servers: one for each, of the slots that it serves."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict

from rowcache_tasks.config.table import Table
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.keys import slot_of
from rowcache_tasks.reader.near.cache import NearCache, NearStatistics, caches, check_rows
from rowcache_tasks.reader.near.fetching import Fetching, Started
from rowcache_tasks.reader.near.session import Counters
from rowcache_tasks.schedule.node import Node, NodeAwayError
from rowcache_tasks.schedule.servers import Servers


class NearCaches(Fetching):
    """Near cache of a table with partitions, each of which may keep an equal share of max_rows.

    The rows of a slot are kept with the server that was last asked for them. Once it serves the slot no more, its
    session forgets them with its next probe, and the next read asks the server that the slot has moved to.
    """

    def __init__(self, servers: Servers, table: Table, *, max_rows: int, wait_s: float) -> None:
        check_rows(max_rows)
        if "{" not in table.parts[0].place:
            raise ArgumentError(
                f"near is given, and table {table.name!r} has neither partitions nor a namespace with braces: "
                "set one of them, as several Redis servers need it"
            )
        self.max_rows, self.wait_s = max_rows, wait_s
        self._servers, self._parts = servers, table.partitions
        self._after_fork()
        caches.add(self)

    def _after_fork(self) -> None:
        self._counters = Counters()
        self._caches: dict[Node, NearCache] = {}
        self._nodes: dict[int, Node] = {}
        """Slot -> the server that was last asked for its rows."""

    def get(self, key: bytes) -> bytes | None:
        """Return the bytes of a row that is kept here, ABSENT for a key known not to exist, or None. No I/O."""
        slot = slot_of(key)
        cache = self._cache_of(slot)
        return None if cache is None else cache.get(key, slot)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return for each key what get() returns."""
        found: list[bytes | None] = [None] * len(keys)
        for slot, places in by_slot(keys).items():
            if (cache := self._cache_of(slot)) is not None:
                for place, value in zip(places, cache.get_many([keys[n] for n in places], slot), strict=True):
                    found[place] = value
        return found

    def statistics(self) -> NearStatistics:
        """Return the counts of this process."""
        rows = sum(cache.statistics().rows for cache in [*self._caches.values()])
        return NearStatistics(rows=rows, **asdict(self._counters))

    def forget(self, keys: Sequence[bytes]) -> None:
        """Forget rows, as a NearCache does."""
        for slot, places in by_slot(keys).items():
            if (cache := self._cache_of(slot)) is not None:
                cache.forget([keys[place] for place in places])

    def close(self) -> None:
        """Forget all rows, close the connections and end the threads; the next fetch starts anew."""
        caches, self._caches, self._nodes = self._caches, {}, {}
        for cache in caches.values():
            cache.close()

    def _cache_of(self, slot: int) -> NearCache | None:
        node = self._nodes.get(slot)
        return None if node is None else self._caches.get(node)

    def _start(self, keys: Sequence[bytes]) -> list[Started]:
        started: list[Started] = []
        for slot, places in by_slot(keys).items():
            some = [keys[place] for place in places]
            if (future := self._begin(slot, some)) is None:
                return []
            started.append((places, future))
        return started

    def _join(
        self, keys: Sequence[bytes], started: Sequence[Started], found: Sequence[list[bytes] | None]
    ) -> list[bytes] | None:
        values = super()._join(keys, started, found)
        if values is None:  # a slot may have moved
            self._servers.check_later()
        return values

    def _begin(self, slot: int, keys: Sequence[bytes]) -> "Future[list[bytes] | None] | None":
        """Queue a fetch at the server of a slot."""
        if not self._servers.has_slots:
            return None
        try:
            node = self._servers.serving(keys[0])
        except NodeAwayError:
            return None
        if (last := self._nodes.get(slot)) is not node:
            self._nodes[slot] = node
            self._leave(last, slot)
        cache = self._caches.get(node)
        if cache is None:
            made = NearCache(node.client, max_rows=self.max_rows, parts=self._parts, counters=self._counters)
            cache = self._caches.setdefault(node, made)
        return cache.start(keys, slot)

    def _leave(self, node: Node | None, slot: int) -> None:
        """Forget the rows of a slot at a server; without slots, its connection is closed."""
        if node is not None and (cache := self._caches.get(node)) is not None:
            cache.forget_slot(slot)
            if node not in [*self._nodes.values()]:
                self._caches.pop(node, None)


def by_slot(keys: Sequence[bytes]) -> dict[int, list[int]]:
    """Return the places of the keys of each slot."""
    found: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(slot_of(key), []).append(place)
    return found
