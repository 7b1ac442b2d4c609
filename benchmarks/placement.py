"""Own on which cores processes run: the servers on one, whoever asks them on another.

Left alone, the kernel puts a client and a server that wait for each other on one core or on two, as it comes, and keeps
it so for long; a round trip then takes half or twice as long, whoever asks. Where cores cannot be chosen (macOS) or
there is one only, nothing is done.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def apart(servers: Iterable[int]) -> Iterator[None]:
    """Keep the servers, by their process ids, from the core of this process and of those that it starts."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        yield
        return
    pids = [process.pid for pid in servers for process in family(pid)]
    try:
        for pid in pids:
            os.sched_setaffinity(pid, cores[:1])
        os.sched_setaffinity(0, cores[1:])
        yield
    finally:
        for pid in [0, *pids]:
            if pid == 0 or psutil.pid_exists(pid):
                os.sched_setaffinity(pid, cores)


def family(pid: int) -> list[psutil.Process]:
    """Give a process and its children."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
