"""Waits for a condition with a deadline."""

import time


def wait_until(is_true, description, timeout_s=90, pause_s=0.005):
    """Poll until is_true() returns a true value, and return that value; AssertionError after timeout_s.

    The default deadline is for a machine that runs ten other programs.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := is_true()):
        assert time.monotonic() < deadline, f"waited {timeout_s} s until {description}"
        time.sleep(pause_s)
    return found
