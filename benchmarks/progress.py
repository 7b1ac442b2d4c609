"""Own what the person who measures sees meanwhile: lines on stderr with the seconds since the start.

progress.say("throughput")                    # a line that stays
progress.step("throughput: round 2 of 5, rq") # what goes on now: passes by in a terminal
with progress.uncounted(): ...                # installing is not measuring
"""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

PAUSE_S = 2.0
"""Without a terminal, steps that follow each other more quickly are left out."""


class Progress:
    """Writes lines, and counts the seconds that are spent on measuring."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._started = time.monotonic()
        self._uncounted_s = 0.0
        self._stepped_at = 0.0
        self._is_step_shown = False

    @property
    def seconds(self) -> float:
        """The seconds since the start, without those that do not count."""
        return time.monotonic() - self._started - self._uncounted_s

    def say(self, text: str) -> None:
        """Write a line."""
        self._write(f"{self.seconds:6.1f} s  {text}\n")
        self._is_step_shown = False

    def step(self, text: str) -> None:
        """Show what goes on now: a line of a terminal that the next one takes the place of, elsewhere now and then."""
        if self._is_terminal:
            line = f"{self.seconds:6.1f} s  {text}"
            self._write(line[: shutil.get_terminal_size().columns - 1])
            self._is_step_shown = True
        elif time.monotonic() - self._stepped_at >= PAUSE_S:
            self._stepped_at = time.monotonic()
            self.say(text)

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Do something that is not counted in the seconds."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._uncounted_s += time.monotonic() - started

    @property
    def _target(self) -> TextIO:
        return self._stream or sys.stderr

    @property
    def _is_terminal(self) -> bool:
        return self._target.isatty()

    def _write(self, text: str) -> None:
        self._target.write(("\r\x1b[K" if self._is_step_shown else "") + text)
        self._target.flush()


progress = Progress()
