"""Stamps of schedule changes: times of Redis, each later than the last."""

import threading

STEP_US = 1_000_000  # a clock that went back by more was set; by less, it was adjusted, or read twice in a tick


class Stamps:
    """Makes stamps of the server's times, each later than the one before. Thread-safe.

    The clock of a server may stand still or go back a little between two changes; the later change wins all the same.
    Stamps follow a clock that was set back for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_us = 0

    def stamp(self, time: tuple[int, int]) -> str:
        """Return the stamp of the server's TIME (seconds, microseconds) as text, Unix seconds with six decimals."""
        now_us = int(time[0]) * 1_000_000 + int(time[1])
        with self._lock:
            if self._last_us - STEP_US < now_us <= self._last_us:
                now_us = self._last_us + 1
            self._last_us = now_us
        return f"{now_us // 1_000_000}.{now_us % 1_000_000:06d}"
