"""Own a thread that does one thing over and over, and what becomes of it when that raises."""

import threading
import time


class Activity:
    """Calls step() at a steady pace in a thread of its own until it is stopped or step() raises."""

    pause_s = 0.01

    def __init__(self):
        self._stopped = threading.Event()
        self._error = None
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def step(self):
        raise NotImplementedError

    def start(self):
        self._thread.start()

    def stop(self):
        """Stop and wait for the step that is under way."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(30)

    def check(self):
        """Raise what ended the thread, if anything did."""
        if self._error is not None:
            raise RuntimeError(f"{type(self).__name__} ended by an error") from self._error

    def _run(self):
        try:
            while not self._stopped.wait(self.pause_s):
                self.step()
        except Exception as error:  # noqa: BLE001 check() raises it where it is seen
            self._error = error


def wait_until(is_true, what, timeout_s=60, pause_s=0.02):
    """Poll until something holds; returns what it gave."""
    deadline = time.monotonic() + timeout_s
    while not (found := is_true()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {timeout_s} s in vain until {what}")
        time.sleep(pause_s)
    return found
