"""Own one child process: started in its own session, stopped with everything it started itself.

Knows nothing of what it runs. On Linux the child does not outlive this process (see trampoline.py).
"""

import atexit
import os
import shutil
import signal as signals
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from rowcache_tasks.demo.servers import trampoline
from rowcache_tasks.demo.servers.account import Account
from rowcache_tasks.demo.servers.error import EmbeddedError
from rowcache_tasks.demo.servers.spawner import spawn

_TAIL_BYTES = 16_384


class Child:
    """A program in its own session, so that Ctrl-C in the terminal reaches only this process.

    env None means this process's environment, log None its standard output and error; a log file is appended
    to. stop_signal asks the program to end. A process forked from this one cannot stop the child.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        cwd: Path | None = None,
        stop_signal: int = signals.SIGTERM,
        account: Account | None = None,
    ) -> None:
        self.argv = list(argv)
        self.log = log
        self._env = None if env is None else dict(env)
        self._cwd = cwd
        self._stop_signal = stop_signal
        self._account = account or Account()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._swept = True
        self._log_start = 0

    @property
    def pid(self) -> int:
        """The process id, also of its session and process group; that of the last run after it ended."""
        return self._started().pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self.poll() is None

    def start(self) -> None:
        """Start the program; does nothing while it runs."""
        if self.is_running:
            return
        search = (os.environ if self._env is None else self._env).get("PATH")
        if shutil.which(self.argv[0], path=search) is None:
            raise EmbeddedError(f"cannot start {self.argv[0]}: there is no such program; check PATH")
        command = trampoline.wrap(self.argv, self._account.identity)
        with ExitStack() as stack:
            output = stack.enter_context(self.log.open("ab")) if self.log else None
            self._log_start = output.tell() if output else 0
            self._process = spawn(
                lambda: subprocess.Popen(  # noqa: S603 - the caller's argv, no shell
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self._cwd,
                    env=self._env,
                    start_new_session=True,
                )
            )
        self._owner = os.getpid()
        self._swept = False
        atexit.register(self.stop)

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, or None while it runs."""
        status = self._started().poll()
        if status is not None and not self._swept:
            # What is left of its process group, such as the pool of a killed worker. Only now, right after
            # the leader was reaped: later the number may belong to somebody else.
            self._swept = True
            self._signal_group()
            atexit.unregister(self.stop)
        return status

    def wait(self, timeout: float) -> int | None:
        """Return the exit status, or None when it still runs after timeout seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._started().wait(timeout)
        return self.poll()

    def stop(self, signal: int | None = None, timeout: float = 10.0) -> None:
        """Ask it to end and wait for timeout seconds, then kill() it; does nothing when it has ended.

        signal None is the stop_signal. Only the program itself is asked; what it leaves in its process group
        is killed.
        """
        if self._is_ours() and self.is_running:
            self._started().send_signal(self._stop_signal if signal is None else signal)
            if self.wait(timeout) is None:
                self.kill()

    def kill(self) -> None:
        """Kill it and everything it started at once, and wait for the program's end."""
        if self._is_ours() and self.is_running:
            elsewhere = _children(self.pid)  # they have another parent as soon as it is dead
            self._signal_group()
            for pid in elsewhere:
                with suppress(ProcessLookupError):
                    os.kill(pid, signals.SIGKILL)
            self._started().wait()
            self.poll()

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines that this run wrote to the log, "" without one."""
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(self._log_start, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise EmbeddedError(f"{Path(self.argv[0]).name} was not started: call start() first")
        return self._process

    def _is_ours(self) -> bool:
        # The exit handlers are inherited by fork.
        return self._process is not None and self._owner == os.getpid()

    def _signal_group(self) -> None:
        # macOS answers EPERM for a group of zombies.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signals.SIGKILL)


def _children(pid: int) -> list[int]:
    # For programs whose children leave the process group, as every process of PostgreSQL does. Elsewhere than
    # on Linux such children are left to notice for themselves.
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
