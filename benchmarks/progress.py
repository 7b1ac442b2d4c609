"""Progress of a run on stderr: lines with the seconds since the start."""

import sys
import time


class Progress:
    """Writes lines."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def say(self, text: str) -> None:
        """Write a line."""
        sys.stderr.write(f"{self.seconds:6.1f} s  {text}\n")
        sys.stderr.flush()


progress = Progress()
