"""Own a sampling profiler that a Python process starts in itself, and the reading of what it wrote.

Every few milliseconds of its own processor time, user and system, a process writes down what it is just doing: time
for which it waits is not counted. Needs no right to look into other processes, and works wherever Python has SIGPROF.
The kernel decides how often at most: about 250 times a second of processor time on Linux.
"""

import os
import signal
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

INTERVAL_S = 0.002

Stack = tuple[str, ...]
"""The functions of one moment, innermost first: ("redis/connection.py:Connection.send_packed_command", …)."""


def start(folder: Path) -> None:
    """Take samples of this process, and of those that it forks, into <folder>/<pid>; for the main thread."""
    names: dict[CodeType, str] = {}
    output = -1

    def sample(_signum: int, frame: FrameType | None) -> None:
        stack = []
        while frame is not None:
            code = frame.f_code
            name = names.get(code)
            if name is None:
                name = names[code] = f"{'/'.join(Path(code.co_filename).parts[-4:])}:{code.co_qualname}"
            stack.append(name)
            frame = frame.f_back
        os.write(output, f"{time.time()};{';'.join(stack)}\n".encode())

    def begin() -> None:
        nonlocal output
        output = os.open(folder / str(os.getpid()), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        signal.signal(signal.SIGPROF, sample)
        signal.siginterrupt(signal.SIGPROF, False)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    begin()
    os.register_at_fork(after_in_child=begin)


def read(folder: Path, pid: int, since: float, until: float) -> Counter[Stack]:
    """Count the stacks of one process between two Unix times."""
    path = folder / str(pid)
    found: Counter[Stack] = Counter()
    for line in path.read_text().splitlines() if path.exists() else []:
        at, *stack = line.split(";")
        if since <= float(at) <= until:
            found[tuple(stack)] += 1
    return found
