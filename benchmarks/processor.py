"""Processor time of groups of processes."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

Pids = Mapping[str, Iterable[int]]


class Processor:
    """Counts the processor time of named groups of processes from its construction on."""

    def __init__(self, pids: Pids) -> None:
        self._groups = {name: list(group) for name, group in pids.items()}
        self._before = self._read()

    def used(self) -> dict[str, float]:
        """Return group -> seconds of processor time since the construction. Processes that have ended count 0."""
        now = self._read()
        return {
            name: sum(max(0.0, seconds - self._before[name][pid]) for pid, seconds in now[name].items())
            for name in self._groups
        }

    def _read(self) -> dict[str, dict[int, float]]:
        return {name: {pid: seconds_of(pid) for pid in group} for name, group in self._groups.items()}


def seconds_of(pid: int) -> float:
    """Read the processor seconds of one process without its children; 0 when it has ended."""
    try:
        threads = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))  # in nanoseconds, where the kernel has them
        if threads:
            return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
        times = psutil.Process(pid).cpu_times()
    except (psutil.NoSuchProcess, OSError):
        return 0.0
    return float(times.user + times.system)


def tree(pid: int) -> list[int]:
    """List a process and all its descendants."""
    return [pid, *descendants(pid)]


def descendants(pid: int) -> list[int]:
    """List the descendants of a process."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def has_ended(pid: int) -> bool:
    """Return whether a child process has ended."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
