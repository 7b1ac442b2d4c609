"""Restarts Celery processes that exit, as `restart: unless-stopped` does; a process that hangs is left alone."""

import os
import sys
import threading
import time

from proof.chaos.repeated_step import RepeatedStep
from support.waiting import wait_until

from demo.servers import Child

RESTART_PAUSE_S = 0.1  # as Docker's


class Supervisor(RepeatedStep):
    """Restarts its processes. `exits` lists those that ended without being killed."""

    pause_s = 0.05

    def __init__(self, root, folder):
        super().__init__()
        self.exits = []
        self._root = root
        self._folder = folder
        self._children = {}
        self._killed = set()
        self._lock = threading.Lock()

    def add(self, name, env, *arguments):
        """Start `celery -A rowcache_tasks <arguments>`; its log is appended to after a restart."""
        argv = [sys.executable, "-m", "celery", "-A", "rowcache_tasks", *arguments]
        child = Child(argv, env=env, log=self.log(name), cwd=self._root)
        child.start()
        self._children[name] = child

    def step(self):
        with self._lock:
            for name, child in list(self._children.items()):
                if (status := child.poll()) is not None:
                    if child.pid not in self._killed:
                        self.exits.append(f"{name} exited by itself with status {status}:\n{child.log_tail(5)}")
                    time.sleep(RESTART_PAUSE_S)
                    child.start()

    def pid(self, name):
        return self._children[name].pid

    def log(self, name):
        return self._folder / f"{name}.log"

    def kill(self, name, signal):
        """Kill the process without its children; return its pid when its successor is started."""
        with self._lock:
            pid = self.pid(name)
            self._killed.add(pid)
            os.kill(pid, signal)
        # Its children die at the restart, as in a container.
        wait_until(lambda: self.pid(name) != pid, f"{name} is started again")
        return pid

    def signal_all(self, name, signal):
        """Send a signal to a process and all its children."""
        os.killpg(self.pid(name), signal)

    def stop(self):
        super().stop()
        for child in self._children.values():
            child.kill()
