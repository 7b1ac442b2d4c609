"""Placement of servers and readers on different cores."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def apart(servers: Iterable[int]) -> Iterator[None]:
    """Keep the servers, by their process ids, on one core, and this process on the others.

    Left alone, the kernel puts a client and a server that wait for each other on one core or on two, and a round trip
    takes half or twice as long. Without a choice of cores (macOS), or with one core, nothing is done.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        yield
        return
    pids = list(servers)
    try:
        for pid in pids:
            os.sched_setaffinity(pid, cores[:1])
        os.sched_setaffinity(0, cores[1:])
        yield
    finally:
        for pid in [0, *pids]:
            if pid == 0 or psutil.pid_exists(pid):
                os.sched_setaffinity(pid, cores)
