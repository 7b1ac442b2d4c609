"""Life of a server: prepare, start, wait until it answers, stop, remove."""

import atexit
import os
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from rowcache_tasks.demo.error import DemoError
from rowcache_tasks.demo.servers.child import Child
from rowcache_tasks.demo.servers.private_directory import PrivateDirectory

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.005


class Server(ABC):
    """Server in a directory of its own, kept over kill() and start().

    Without `directory` it is temporary, and stop() removes it with its data; a given one is made if it is missing, and
    kept. The socket is always in a temporary directory, at one path for the life of the object.
    """

    name: ClassVar[str]
    socket_name: ClassVar[str]

    def __init__(self, directory: Path | None) -> None:
        # Absolute: the program may change its working directory before it restarts the server.
        self._given = None if directory is None else directory.absolute()
        self._private = PrivateDirectory()
        self._child: Child | None = None
        self._owner = 0

    @property
    def home(self) -> Path:
        """The directory that holds `data` and the log."""
        return self._given or self._private.path

    @property
    def log(self) -> Path:
        """The log; each start appends to it."""
        return self.home / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """The process id, or that of the last run."""
        if self._child is None:
            raise DemoError(f"{self.name} was not started: call start() first")
        return self._child.pid

    def start(self) -> None:
        """Start it, unless it runs, and return when it answers.

        Raises DemoError with the last lines of its log, and removes a temporary directory.
        """
        if self._child is not None and self._child.is_running:
            return
        self._owner = os.getpid()
        atexit.register(self.stop)
        try:
            self._private.make(self.socket_name)
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._child = self._prepare()
            self._child.start()
            self._wait_until_ready(self._child)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it, by force after 10 s, and remove the temporary directory; may be repeated."""
        if self._owner != os.getpid():  # a forked process inherits the exit handlers
            return
        if self._child is not None:
            self._child.stop(timeout=STOP_TIMEOUT_S)
        self._private.remove()
        atexit.unregister(self.stop)

    def kill(self) -> None:
        """Crash it with SIGKILL; start() restarts it at the same address with its persistent data."""
        if self._child is not None:
            self._child.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @abstractmethod
    def _prepare(self) -> Child:
        """Make the files that the server needs under home, and return its process, not started."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Send the server one request."""

    def _may_start_again(self, child: Child) -> bool:
        """Return whether the child ended for a reason that passes by itself."""
        return False

    def _wait_until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            status = child.poll()
            if status is not None and self._may_start_again(child) and time.monotonic() < deadline:
                child.start()
            elif status is not None or time.monotonic() > deadline:
                found = f"did not answer within {START_TIMEOUT_S:.0f} s"
                if status is not None:
                    found = f"ended with status {status} before it answered"
                raise DemoError(f"{self.name} {found}; the end of its log:\n{child.log_tail()}")
            time.sleep(_POLL_S)
