"""Pause after a read that failed as a whole: its share of a process is bounded."""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager

FACTOR = 3  # a pause is so many times as long as what failed, so a database that hangs takes a quarter of a process


MIN_S = 0.5  # shorter failures are followed by no pause
MAX_S = 15.0  # longest pause


class Outage:
    """Failures of one database or table. Thread-safe."""

    def __init__(self) -> None:
        self._until = 0.0
        self._error: Exception | None = None

    @contextmanager
    def watch(self, errors: tuple[type[Exception], ...]) -> Iterator[None]:
        """Raise the last error again while a pause lasts; else run the block, whose `errors` begin a pause."""
        started = time.monotonic()
        if self._error is not None and started < self._until:
            raise copy.copy(self._error)
        try:
            yield
        except errors as error:
            ended = time.monotonic()
            if ended - started >= MIN_S:
                # A copy: the error itself keeps the connection that failed.
                self._error, self._until = copy.copy(error), ended + min(MAX_S, FACTOR * (ended - started))
            raise
