"""Child process, stopped with all that it started."""

import os
import shutil
import signal as signals
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from rowcache_tasks.errors import RowCacheError

_TAIL_BYTES = 16_384


class DemoError(RowCacheError):
    """A process of the demo or of the tests cannot run; the last lines of its log follow the first line."""


class Child:
    """Program in its own session, so that Ctrl-C in the terminal does not reach it.

    On Linux it dies with the thread that started it. Without `env` it has the environment of this process, without
    `log` its output; a log file is appended to. `stop_signal` asks it to end. Root may name another `user`.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        cwd: Path | None = None,
        stop_signal: int = signals.SIGTERM,
        user: str = "",
    ) -> None:
        self.argv = list(argv)
        self.log = log
        self._env = env
        self._cwd = cwd
        self._stop_signal = stop_signal
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._swept = True
        self._log_start = 0

    @property
    def pid(self) -> int:
        """The id of the process, its session and its group; of the last run after its end."""
        return self._started().pid

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self.poll() is None

    def start(self) -> None:
        """Start the program unless it runs."""
        if self.is_running:
            return
        search = (os.environ if self._env is None else self._env).get("PATH")
        if shutil.which(self.argv[0], path=search) is None:
            raise DemoError(f"cannot start {self.argv[0]}: there is no such program")
        with ExitStack() as stack:
            output = stack.enter_context(self.log.open("ab")) if self.log else None
            self._log_start = output.tell() if output else 0
            # The handler of a signal that came between fork and assignment could raise, and the child would be lost.
            unblocked = signals.pthread_sigmask(signals.SIG_BLOCK, signals.valid_signals())
            stack.callback(signals.pthread_sigmask, signals.SIG_SETMASK, unblocked)
            self._process = subprocess.Popen(  # noqa: S603 - no shell
                launch_command(self.argv, self._user),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._cwd,
                env=self._env,
                start_new_session=True,
            )
            self._swept = False

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        status = self._started().poll()
        if status is not None and not self._swept:
            # Kill the rest of its process group, such as the pool of a killed worker, right after the leader was
            # reaped: later the number may be that of another group.
            self._swept = True
            self._kill_group()
        return status

    def wait(self, timeout: float) -> int | None:
        """Return the exit status; None if it still runs after `timeout` seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._started().wait(timeout)
        return self.poll()

    def stop(self, signal: int | None = None, timeout: float = 10.0) -> None:
        """Send `signal`, by default the stop signal, and kill() it if it still runs after `timeout` seconds.

        The signal goes to the program alone; the rest of its process group is killed.
        """
        if self.is_running:
            self._started().send_signal(self._stop_signal if signal is None else signal)
            if self.wait(timeout) is None:
                self.kill()

    def kill(self) -> None:
        """Kill it with all that it started, and wait for its end."""
        if self.is_running:
            elsewhere = _children(self.pid)  # their parent is another one after its death
            self._kill_group()
            for pid in elsewhere:
                with suppress(ProcessLookupError):
                    os.kill(pid, signals.SIGKILL)
            self._started().wait()
            self.poll()

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of this run in the log; "" without a log."""
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(self._log_start, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise DemoError("the program was not started: call start() first")
        return self._process

    def _kill_group(self) -> None:
        # macOS answers EPERM for a group of zombies.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signals.SIGKILL)


def launch_command(argv: Sequence[str], user: str = "") -> list[str]:
    """Return the argv that runs `argv` as a user and, on Linux, kills it at the death of this process."""
    launcher = Path(__file__).with_name("launcher.py")
    return [sys.executable, "-I", "-S", str(launcher), str(os.getpid()), user, *argv]


def _children(pid: int) -> list[int]:
    # Children of some programs, such as PostgreSQL, leave the process group. Only Linux lists them.
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
