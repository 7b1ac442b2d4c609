"""Waits for a condition with a deadline."""

import time


def wait_until(is_true, description, timeout_s=90, pause_s=None):
    """Poll until is_true() returns a true value, and return that value; AssertionError after timeout_s.

    The default deadline is for a machine that runs ten other programs. Without `pause_s`, the pauses grow with the time
    waited, and with what a look takes: a condition that holds for a moment only needs a short one.
    """
    started = time.monotonic()
    while True:
        asked = time.monotonic()
        if found := is_true():
            return found
        now = time.monotonic()
        assert now < started + timeout_s, f"waited {timeout_s} s until {description}"
        time.sleep(pause_s or min(0.25, max(0.005, 4 * (now - asked), 0.02 * (now - started))))
