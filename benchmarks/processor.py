"""Own the processor time of processes, their children included: what a second of the clock does not tell."""

from collections.abc import Iterable, Mapping

import psutil


class Processor:
    """Counts the processor time that named groups of processes use from its construction on; seconds."""

    def __init__(self, pids: Mapping[str, Iterable[int]]) -> None:
        self._roots = {name: list(group) for name, group in pids.items()}
        self._before = self._used()

    def used(self) -> dict[str, float]:
        """Give group -> seconds of processor time since the start. Processes that have ended meanwhile are lost."""
        now = self._used()
        return {
            name: sum(seconds - self._before[name].get(pid, 0.0) for pid, seconds in now[name].items())
            for name in self._roots
        }

    def _used(self) -> dict[str, dict[int, float]]:
        # One look at all processes for all groups: it takes a millisecond for a few of them.
        seconds: dict[int, float] = {}
        children: dict[int, list[int]] = {}
        for process in psutil.process_iter(["ppid", "cpu_times"]):
            times = process.info["cpu_times"]
            seconds[process.pid] = times.user + times.system if times else 0.0
            children.setdefault(process.info["ppid"], []).append(process.pid)
        found = {}
        for name, roots in self._roots.items():
            family = list(roots)
            for pid in family:  # grows meanwhile
                family += children.get(pid, [])
            found[name] = {pid: seconds.get(pid, 0.0) for pid in family}
        return found
