"""Thread that repeats one step until it is stopped or the step raises."""

import threading


class RepeatedStep:
    """Calls step() at a steady pace in its own thread; check() raises the error of a step in the caller."""

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
        """Stop, and wait for the current step."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(30)

    def check(self):
        """Raise RuntimeError if a step has raised."""
        if self._error is not None:
            raise RuntimeError(f"{type(self).__name__} ended by an error") from self._error

    def _run(self):
        try:
            while not self._stopped.wait(self.pause_s):
                self.step()
        except Exception as error:  # noqa: BLE001 check() raises it in the main thread
            self._error = error
