"""Own the processor time of processes, their children included: what a second of the clock does not tell."""

from collections.abc import Iterable, Mapping

import psutil


class Processor:
    """Counts the processor time that named groups of processes use from its construction on; seconds."""

    def __init__(self, pids: Mapping[str, Iterable[int]]) -> None:
        self._groups = {name: [psutil.Process(pid) for pid in group] for name, group in pids.items()}
        self._before = {name: self._used(name) for name in self._groups}

    def used(self) -> dict[str, float]:
        """Give group -> seconds of processor time since the start. Processes that have ended meanwhile are lost."""
        return {
            name: sum(now - self._before[name].get(pid, 0.0) for pid, now in self._used(name).items())
            for name in self._groups
        }

    def _used(self, name: str) -> dict[int, float]:
        found = {}
        for root in self._groups[name]:
            for process in [root, *root.children(recursive=True)]:
                try:
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                found[process.pid] = times.user + times.system
        return found
