"""Fetches of a near cache, waited for or awaited, and their values in the order asked."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic

from rowcache_tasks.reader.near.session import ABSENT

Started = tuple[Sequence[int], "Future[list[bytes] | None]"]
"""Places of some keys among those asked for, and their values to come."""


class Fetching:
    """Reads of values on tracked connections."""

    max_rows: int
    wait_s: float  # longest wait for a fetch

    def fetch_many(self, keys: Sequence[bytes]) -> list[bytes] | None:
        """Read rows, at least one, from the server, and keep them; ABSENT for no row. None: read with the client.

        One round trip; values in the order asked. Waits for wait_s at most.
        """
        started = self._start(keys)
        found: list[list[bytes] | None] = []
        until = monotonic() + self.wait_s
        with suppress(TimeoutError):
            found += [future.result(max(0.0, until - monotonic())) for _, future in started]
        return self._join(keys, started, found)

    async def fetch_many_async(self, keys: Sequence[bytes]) -> list[bytes] | None:
        """Read rows as `fetch_many` does, awaited."""
        started = self._start(keys)
        found: list[list[bytes] | None] = []
        with suppress(TimeoutError):
            waiting = asyncio.gather(*(asyncio.wrap_future(future) for _, future in started))
            found += await asyncio.wait_for(waiting, self.wait_s)
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
            return None
        for (places, _), some in zip(started, found, strict=True):
            for place, value in zip(places, some or (), strict=True):
                values[place] = value
        return values

    def _start(self, keys: Sequence[bytes]) -> Sequence[Started]:
        """Queue fetches; none if the server of some keys has no session."""
        raise NotImplementedError

    def forget(self, keys: Sequence[bytes]) -> None:
        """Forget rows that this process has written, so that its next read is not older than that.

        Without it, the process may read the old value until the server's message has arrived.
        """
        raise NotImplementedError
