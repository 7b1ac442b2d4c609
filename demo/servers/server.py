"""Life of a server: prepare, start, wait until it answers, stop, remove."""

import atexit
import os
import secrets
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from demo.servers.child import Child, DemoError

START_TIMEOUT_S = 60.0
_POLL_S = 0.005
_SOCKET_PATH_BYTES = 103  # macOS; Linux allows 107


class Server(Child, ABC):
    """Server whose data is in the directory `home`, kept over kill() and start().

    Without `directory` it is temporary, and stop() removes it with its data; a given one is made if it is missing, and
    kept. The socket is always in a temporary directory, at one path for the life of the object. A process forked from
    this one cannot stop the server.
    """

    name: ClassVar[str]
    socket_name: ClassVar[str]
    passing_failure: ClassVar[str | None] = None
    """Words in the log of a start that failed for a reason that passes by itself."""
    log: Path

    def __init__(self, directory: Path | None, args: Sequence[str], stop_signal: int, user: str = "") -> None:
        base, folder = tempfile.gettempdir(), f"rowcache-{secrets.token_hex(4)}"
        if len(os.fsencode(f"{base}/{folder}/{self.socket_name}")) > _SOCKET_PATH_BYTES:
            base = "/tmp"  # noqa: S108 - with a random name
        self._private = Path(base, folder)
        # Absolute: the program may change its working directory before it restarts the server.
        self.home = self._private if directory is None else directory.absolute()
        log = self.home / f"{self.name}.log"
        super().__init__([], log=log, cwd=self.home, stop_signal=stop_signal, user=user)
        self._args = args
        self._owner = 0

    def start(self) -> None:
        """Start it, unless it runs, and return when it answers.

        Raises DemoError with the last lines of its log, and removes a temporary directory.
        """
        if self.is_running:
            return
        self._owner = os.getpid()
        atexit.register(self.stop)
        try:
            for directory in (self._private, self.home):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._env = self._environment()
            self.argv = [*self._prepare(), *self._args]
            super().start()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self, signal: int | None = None, timeout: float = 10.0) -> None:
        """Stop it as a child, and remove the temporary directory; may be repeated."""
        if self._owner == os.getpid():  # a forked process inherits the exit handlers
            super().stop(signal, timeout)
            shutil.rmtree(self._private, ignore_errors=True)
            atexit.unregister(self.stop)

    @abstractmethod
    def _environment(self) -> Mapping[str, str]:
        """Return the environment of a start: that of this process now, not of when the object was made."""

    @abstractmethod
    def _prepare(self) -> list[str]:
        """Make the files that the server needs under home, and return its argv without the arguments of the caller."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Send the server one request."""

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            status, is_late = self.poll(), time.monotonic() > deadline
            if status is not None and not is_late and self.passing_failure and self.passing_failure in self.log_tail():
                super().start()
            elif status is not None or is_late:
                found = f"did not answer within {START_TIMEOUT_S:.0f} s"
                if status is not None:
                    found = f"ended with status {status} before it answered"
                raise DemoError(f"{self.name} {found}; the end of its log:\n{self.log_tail()}")
            time.sleep(_POLL_S)


def program_in_wheel(package: str, pattern: str) -> str:
    """Return the path of a program; raises DemoError. The package is located, not imported: it acts on import."""
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in Path(folder).glob(pattern):
            return str(path)
    raise DemoError(f"the package {package} with {pattern} is not installed: pip install 'rowcache-tasks[demo]'")
