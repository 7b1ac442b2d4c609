"""Own the circuit breaker: what has failed several times in a row is left alone for a moment. Knows no server."""

import random
import time
from collections.abc import Callable

__all__ = ["Breaker"]


class Breaker:
    """Opens after `threshold` failures in a row, for about `pause_s` seconds; then lets one caller try.

    The pause is shortened by up to half by chance, so that processes do not try again all at once. Safe for threads
    without a lock, which a fork could leave held: two that ask in the same instant may both be let through.
    """

    def __init__(self, threshold: int = 3, pause_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._threshold, self._pause_s, self._clock = threshold, pause_s, clock
        self._failures = 0
        self._open_until = 0.0

    def allows(self) -> bool:
        """Whether to try. Of those who ask after the pause, one is let through; the others wait for what it finds."""
        if self._failures < self._threshold:
            return True
        now = self._clock()
        if now < self._open_until:
            return False
        self._open_until = now + self._pause_s  # in case that the one who tries never tells
        return True

    def succeed(self) -> bool:
        """Tell that it worked: the breaker closes; returns whether it was open."""
        was_open = self._failures >= self._threshold
        if self._failures:
            self._failures = 0
        return was_open

    def fail(self) -> bool:
        """Tell that it did not work; returns whether the breaker was opened by that."""
        self._failures += 1
        self._open_until = self._clock() + self._pause_s * (0.5 + random.random() / 2)  # noqa: S311 no secret
        return self._failures == self._threshold
