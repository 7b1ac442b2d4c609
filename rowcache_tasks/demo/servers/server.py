"""Own the life of an embedded server: prepare, launch, wait until it answers, stop, remove.

What Valkey and PostgreSQL need differently is in their modules.
"""

import atexit
import os
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from rowcache_tasks.demo.servers.child import Child
from rowcache_tasks.demo.servers.directory import PrivateDirectory
from rowcache_tasks.demo.servers.error import EmbeddedError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.005


class Server(ABC):
    """A server in a directory of its own, which it keeps over kill() and start().

    directory None means a temporary one, removed with its data by stop(); a given one is made when it is
    missing, and kept. The socket is in a temporary directory in both cases, at the same path for the life of
    the object.
    """

    name: ClassVar[str]
    socket_name: ClassVar[str]

    def __init__(self, directory: Path | None) -> None:
        # Absolute, because the program may change its working directory before it restarts the server.
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
        """The server's log, appended to by every start."""
        return self.home / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """The process id of the server, of its last run when it does not run."""
        if self._child is None:
            raise EmbeddedError(f"{self.name} was not started: call start() first")
        return self._child.pid

    def start(self) -> None:
        """Start it and return when it answers; does nothing while it runs.

        Raises EmbeddedError with the last lines of its log when it does not answer. Then, as after stop(),
        nothing is left of a temporary directory.
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
        """Stop it, by force when it does not end in time, and remove what is temporary; may be repeated."""
        if self._owner != os.getpid():  # exit handlers are inherited by fork, servers are not
            return
        if self._child is not None:
            self._child.stop(timeout=STOP_TIMEOUT_S)
        self._private.remove()
        atexit.unregister(self.stop)

    def kill(self) -> None:
        """Crash it with SIGKILL; start() brings it back at the same address with the data it keeps."""
        if self._child is not None:
            self._child.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @abstractmethod
    def _prepare(self) -> Child:
        """Make what the server needs under home and return its process, not started."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Ask the server once in its own protocol."""

    def _may_start_again(self, child: Child) -> bool:
        """Say whether the child ended for a reason that passes by itself."""
        return False

    def _wait_until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            status = child.poll()
            if status is not None and self._may_start_again(child) and time.monotonic() < deadline:
                child.start()
            elif status is not None:
                raise EmbeddedError(
                    f"{self.name} ended with status {status} before it answered; the end of its log:\n"
                    f"{child.log_tail()}"
                )
            elif time.monotonic() > deadline:
                raise EmbeddedError(
                    f"{self.name} did not answer within {START_TIMEOUT_S:.0f} s; the end of its log:\n"
                    f"{child.log_tail()}"
                )
            time.sleep(_POLL_S)
