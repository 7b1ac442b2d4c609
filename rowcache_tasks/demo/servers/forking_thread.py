"""Thread that forks child processes.

Linux sends the parent death signal when the *thread* that forked ends, so a child of a short-lived thread would die
with it. The main thread lasts; for every other thread, one lasting thread forks.
"""

import queue
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future

__all__ = ["fork_in_lasting_thread"]

Start = Callable[[], subprocess.Popen[bytes]]


class _ForkingThread:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._requests: queue.SimpleQueue[tuple[Start, Future[subprocess.Popen[bytes]]]] = queue.SimpleQueue()

    def call(self, start: Start) -> subprocess.Popen[bytes]:
        future: Future[subprocess.Popen[bytes]] = Future()
        with self._lock:
            # A forked process has this object without its thread.
            if self._thread is None or not self._thread.is_alive():
                self._requests = queue.SimpleQueue()
                # A daemon outlives the exit handlers, which stop the children gently.
                self._thread = threading.Thread(target=self._run, name="forking", daemon=True)
                self._thread.start()
        self._requests.put((start, future))
        return future.result()

    def _run(self) -> None:
        requests = self._requests
        while True:
            start, future = requests.get()
            try:
                future.set_result(start())
            except OSError as error:
                future.set_exception(error)


_thread = _ForkingThread()


def fork_in_lasting_thread(start: Start) -> subprocess.Popen[bytes]:
    """Return start(), called in a thread that lasts as long as the process; OSError passes through."""
    # The main thread forks by itself: a second thread makes later forks of this process risky.
    if threading.current_thread() is threading.main_thread():
        return start()
    return _thread.call(start)
