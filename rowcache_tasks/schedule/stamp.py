"""Own the times at which schedule changes are enqueued: by the clock of Redis, in the order of one process.

Must not know tasks or tables.
"""

import threading

__all__ = ["Stamps"]

STEP_US = 1_000_000
"""A clock that went back by more was set; one that went back by less was adjusted, or read twice within a tick."""


class Stamps:
    """Makes stamps of the server's times, each later than the one before. Thread-safe.

    A server's clock may stand still or go back a little between two changes; the later of them must win all the same.
    When the clock was set back for good, the stamps follow it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_us = 0

    def stamp(self, time: tuple[int, int]) -> str:
        """Give the stamp of the server's TIME (seconds, microseconds) as text, Unix seconds with six decimals."""
        now_us = int(time[0]) * 1_000_000 + int(time[1])
        with self._lock:
            if self._last_us - STEP_US < now_us <= self._last_us:
                now_us = self._last_us + 1
            self._last_us = now_us
        return f"{now_us // 1_000_000}.{now_us % 1_000_000:06d}"
