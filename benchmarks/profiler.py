"""Samples of Python processes by py-spy, counted by library.

The recordings stay in the folder of the results; https://speedscope.app and flamegraph.pl read them.
"""

import re
import signal
import subprocess
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support.waiting import wait_until

from benchmarks.contender import Pids, Running
from benchmarks.servers import Servers

LIBRARIES = (
    *("rowcache_tasks", "celery", "kombu", "billiard", "vine", "amqp"),
    *("redis", "psycopg", "psycopg_binary", "sqlalchemy", "msgspec"),
)
"""Frames of other modules, such as the standard library, count for the library that calls them."""

FRAME = re.compile(r"\((?P<package>[^/)]+)/[^)]*\)$")
PROCESS = re.compile(r"process (?P<pid>\d+):")
RATE = 200
"""Samples a second."""


def sampled(running: Running, folder: Path, seen: list[Pids]) -> Running:
    """Run a contender under py-spy, which records to <folder>/profile-<group>.txt; add its processes to `seen`."""

    @contextmanager
    def sampling(servers: Servers) -> Iterator[Pids]:
        with running(servers) as pids, ExitStack() as stack:
            for group in ("dispatcher", "worker"):
                stack.enter_context(recording(pids[group][0], folder / f"profile-{group}.txt"))
            seen.append(pids)
            yield pids

    return sampling


@contextmanager
def recording(pid: int, output: Path) -> Iterator[None]:
    """Sample a process and its children. Raises AssertionError when py-spy cannot."""
    program = Path(sysconfig.get_path("scripts")) / "py-spy"
    options = ["--subprocesses", "--rate", str(RATE), "--format", "raw", "--output", str(output), "--pid", str(pid)]
    log = output.with_suffix(".log")
    with log.open("wb") as file:
        spy = subprocess.Popen([program, "record", *options], stdout=file, stderr=subprocess.STDOUT)
    try:

        def is_sampling() -> bool:
            assert spy.poll() is None, f"py-spy has ended:\n{log.read_text()}"
            return "Sampling" in log.read_text()

        wait_until(is_sampling, "py-spy samples")
        yield
        spy.send_signal(signal.SIGINT)
        spy.wait(60)
    finally:
        spy.kill()
        spy.wait()
        log.unlink()


def shares(output: Path, pids: list[int]) -> Counter[str]:
    """Count the samples of some processes by library."""
    found: Counter[str] = Counter()
    for line in output.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        process = [match for match in map(PROCESS.match, frames) if match]
        if process and int(process[-1]["pid"]) in pids:
            found[library_of(frames)] += int(count)
    return found


def library_of(frames: list[str]) -> str:
    """Name the library of the innermost frame that is of one."""
    for frame in reversed(frames):
        match = FRAME.search(frame)
        if match and match["package"] in LIBRARIES:
            return match["package"].removesuffix("_binary")
    return "other"
