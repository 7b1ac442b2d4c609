"""Own which thread forks; knows nothing of what is run.

Linux sends the parent death signal when the *thread* that forked ends, so a child started in a short-lived
thread would die with it. The main thread lasts; for every other one a thread is kept that does the forking.
"""

import queue
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future

Start = Callable[[], subprocess.Popen[bytes]]


class _Spawner:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._requests: queue.SimpleQueue[tuple[Start, Future[subprocess.Popen[bytes]]]] = queue.SimpleQueue()

    def call(self, start: Start) -> subprocess.Popen[bytes]:
        future: Future[subprocess.Popen[bytes]] = Future()
        with self._lock:
            # A forked process has the object but not the thread.
            if self._thread is None or not self._thread.is_alive():
                self._requests = queue.SimpleQueue()
                # Daemon: it has to outlive the exit handlers, which stop the children gently.
                self._thread = threading.Thread(
                    target=self._run, args=(self._requests,), name="embedded-spawner", daemon=True
                )
                self._thread.start()
        self._requests.put((start, future))
        return future.result()

    @staticmethod
    def _run(requests: "queue.SimpleQueue[tuple[Start, Future[subprocess.Popen[bytes]]]]") -> None:
        while True:
            start, future = requests.get()
            try:
                future.set_result(start())
            except OSError as error:
                future.set_exception(error)


_spawner = _Spawner()


def spawn(start: Start) -> subprocess.Popen[bytes]:
    """Return start() as called in a thread that lasts as long as the process; OSError passes through."""
    # Not always in the spawner: a second thread makes later forks of this process risky.
    if threading.current_thread() is threading.main_thread():
        return start()
    return _spawner.call(start)
