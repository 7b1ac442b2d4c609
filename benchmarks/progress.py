"""Progress of a run on stderr: lines with the seconds since the start."""

import sys
import time

_started = time.monotonic()


def elapsed_s() -> float:
    """Return the seconds since the start."""
    return time.monotonic() - _started


def say(text: str) -> None:
    """Write a line."""
    sys.stderr.write(f"{elapsed_s():6.1f} s  {text}\n")
    sys.stderr.flush()
