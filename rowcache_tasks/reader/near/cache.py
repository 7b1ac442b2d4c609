"""Near cache: keys in, bytes out.

One connection a server, held by a thread of its own, on which the server tracks all reads. Values that are not kept
are read on that connection, by all threads and event loops, one MGET after the other. So replies and invalidations
come in one stream, in the order in which the server has worked, and no reply can overtake the invalidation that makes
it old. All that was read on a connection is forgotten when it is lost. docs/near-cache.md has the alternatives.
"""

import asyncio
import os
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from time import monotonic

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.keys import slot_of
from rowcache_tasks.reader.near.address import AnyClient, connection_maker
from rowcache_tasks.reader.near.connection import TrackingThread
from rowcache_tasks.reader.near.session import ABSENT, Counters, TrackingSession
from rowcache_tasks.schedule.node import Node, NodeAwayError
from rowcache_tasks.schedule.servers import Servers

MAX_SILENCE_S = 1.0  # no hit is older; while the connection is well, it is older by the way of one message

Started = tuple[Sequence[int], "Future[list[bytes] | None]"]
"""Places of some keys among those asked for, and their values to come."""


@dataclass(frozen=True, slots=True)
class NearStatistics:
    """Counts of the near cache of this process since it was made."""

    rows: int  # that are kept now
    hits: int
    misses: int
    invalidations: int  # rows that the server has invalidated
    sessions: int  # tracked connections so far: 1 for each server when none was lost


class NearCache:
    """Keeps the max_rows most recently read values of the server of a client, or of several servers.

    Of the client (sync or asyncio) only its address and login are used. No thread is started and no connection opened
    before the first fetch. While there is no tracked connection, nothing is kept and every fetch returns None: the
    caller then reads with the client. The reason is logged once, as a warning; no read fails because of the near
    cache. Thread-safe; a forked child starts with nothing and opens a connection of its own.

    Of several servers, each of the `parts` of the table may keep an equal share of max_rows. The rows of a slot are
    kept with the server that was last asked for them. Once it serves the slot no more, its session forgets them with
    its next probe, and the next read asks the server that the slot has moved to.

    max_silence_s: a value is served only if the server has replied within so many seconds; four HELLOs within.
    wait_s: how long a fetch waits; None: for max_silence_s.
    Raises ArgumentError for numbers out of their range, or a client whose server is not one address.
    """

    def __init__(
        self,
        client: AnyClient,
        *,
        max_rows: int = 10_000,
        max_silence_s: float = MAX_SILENCE_S,
        wait_s: float | None = None,
        parts: int = 1,
    ) -> None:
        if isinstance(max_rows, bool) or not isinstance(max_rows, int) or max_rows < 1:
            raise ArgumentError(f"near is {max_rows!r:.100}: allowed is a number of rows, from 1, or 0 for none")
        if isinstance(max_silence_s, bool) or not 0.05 <= max_silence_s <= 60:
            raise ArgumentError(f"max_silence_s is {max_silence_s!r:.100}: allowed is a number of seconds, 0.05 to 60")
        self.max_rows, self._max_silence_s = max_rows, max_silence_s
        self._wait_s = max_silence_s if wait_s is None else wait_s
        self._servers = client if isinstance(client, Servers) else None
        self._parts = parts if self._servers else 0
        self._only = Node("", client)  # unless there are several
        if self._servers is None:
            connection_maker(client, max_silence_s)
        self._renew(Counters())
        caches.add(self)

    def get(self, key: bytes) -> bytes | None:
        """Return the bytes of a row that is kept here, ABSENT for a key known not to exist, or None. No I/O."""
        slot = slot_of(key) if self._servers else 0
        session = self._session(slot)
        return None if session is None else session.get(key, slot)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return for each key what get() returns."""
        if self._servers is None:
            only = self._session(0)
            return [None] * len(keys) if only is None else only.get_many(keys)
        found: list[bytes | None] = [None] * len(keys)
        for slot, places in self._by_slot(keys).items():
            if (session := self._session(slot)) is not None:
                for place, value in zip(places, session.get_many([keys[n] for n in places], slot), strict=True):
                    found[place] = value
        return found

    def fetch_many(self, keys: Sequence[bytes]) -> list[bytes] | None:
        """Read rows, at least one, from the server, and keep them; ABSENT for no row. None: read with the client.

        One round trip; values in the order asked. Waits for wait_s at most.
        """
        started = self._start(keys)
        found: list[list[bytes] | None] = []
        until = monotonic() + self._wait_s
        with suppress(TimeoutError):
            found += [future.result(max(0.0, until - monotonic())) for _, future in started]
        return self._join(keys, started, found)

    async def fetch_many_async(self, keys: Sequence[bytes]) -> list[bytes] | None:
        """Read rows as `fetch_many` does, awaited."""
        started = self._start(keys)
        found: list[list[bytes] | None] = []
        with suppress(TimeoutError):
            waiting = asyncio.gather(*(asyncio.wrap_future(future) for _, future in started))
            found += await asyncio.wait_for(waiting, self._wait_s)
        return self._join(keys, started, found)

    def _join(
        self, keys: Sequence[bytes], started: Sequence[Started], found: Sequence[list[bytes] | None]
    ) -> list[bytes] | None:
        """Return the values in the order asked; None if some are missing, and then none of the keys is kept.

        The client may read newer values than those kept.
        """
        values = [ABSENT] * len(keys)
        if not found or None in found:
            self.forget(keys)
            if self._servers is not None:  # a slot may have moved
                self._servers.check_later()
            return None
        for (places, _), some in zip(started, found, strict=True):
            for place, value in zip(places, some or (), strict=True):
                values[place] = value
        return values

    def _start(self, keys: Sequence[bytes]) -> list[Started]:
        """Queue fetches; none if the server of some keys has no session."""
        started: list[Started] = []
        for slot, places in self._by_slot(keys).items():
            if (future := self._begin(slot, [keys[place] for place in places])) is None:
                return []
            started.append((places, future))
        return started

    def _begin(self, slot: int, keys: Sequence[bytes]) -> "Future[list[bytes] | None] | None":
        """Queue a fetch at the server of a slot."""
        node = self._only
        if self._servers is not None:
            if not self._servers.has_slots:
                return None
            try:
                node = self._servers.serving(keys[0])
            except NodeAwayError:
                return None
        if (last := self._nodes.get(slot)) is not node:
            self._nodes[slot] = node
            self._leave(last, slot)
        threads = self._threads
        thread = threads.get(node) or threads.setdefault(node, self._make_thread(node))
        thread.start()
        if threads is not self._threads:  # closed meanwhile, perhaps before this thread was among them
            thread.stop()
            return None
        future = thread.session.fetch(keys, slot)
        thread.wake()
        return future

    def _leave(self, node: Node | None, slot: int) -> None:
        """Forget the rows of a slot at a server; without slots, its connection is closed."""
        if node is not None and (thread := self._threads.get(node)) is not None:
            thread.session.forget_slot(slot)
            if node not in [*self._nodes.values()]:
                self._threads.pop(node, None)
                thread.stop()

    def _make_thread(self, node: Node) -> TrackingThread:
        make = connection_maker(node.client, self._max_silence_s)
        return TrackingThread(make, self.max_rows, self._max_silence_s, self._counters, self._parts)

    def _session(self, slot: int) -> TrackingSession | None:
        node = self._nodes.get(slot)
        thread = None if node is None else self._threads.get(node)
        return None if thread is None else thread.session

    def _by_slot(self, keys: Sequence[bytes]) -> Mapping[int, Sequence[int]]:
        """Return the places of the keys of each slot."""
        if self._servers is None:
            return {0: range(len(keys))}
        found: dict[int, list[int]] = {}
        for place, key in enumerate(keys):
            found.setdefault(slot_of(key), []).append(place)
        return found

    def statistics(self) -> NearStatistics:
        """Return the counts of this process."""
        rows = sum(thread.session.row_count for thread in [*self._threads.values()])
        return NearStatistics(rows=rows, **asdict(self._counters))

    def forget(self, keys: Sequence[bytes]) -> None:
        """Forget rows that this process has written, so that its next read is not older than that.

        Without it, the process may read the old value until the server's message has arrived.
        """
        for slot, places in self._by_slot(keys).items():
            if (session := self._session(slot)) is not None:
                session.forget([keys[place] for place in places])

    def close(self) -> None:
        """Forget all rows, close the connections and end the threads; the next fetch starts anew."""
        threads, stop = self._threads, self._stop
        self._renew(self._counters)
        stop()
        for thread in threads.values():
            thread.join(timeout_s=1.0)

    def _renew(self, counters: Counters) -> None:
        self._counters = counters
        self._nodes: dict[int, Node] = {}  # slot -> the server that was last asked for its rows
        self._threads: dict[Node, TrackingThread] = {}
        # For a near cache that is never closed, and the end of the process.
        self._stop = weakref.finalize(self, stop_all, self._threads)

    def _after_fork(self) -> None:
        self._stop.detach()
        for thread in self._threads.values():
            thread.abandon()
        self._renew(Counters())


caches: "weakref.WeakSet[NearCache]" = weakref.WeakSet()


def stop_all(threads: Mapping[Node, TrackingThread]) -> None:
    """Stop the threads of a near cache."""
    for thread in [*threads.values()]:
        thread.stop()


def _after_fork_in_child() -> None:
    for cache in list(caches):
        cache._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
