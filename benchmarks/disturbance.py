"""Own what a reader notices of refreshes at full speed: the times of its GETs, and how long the server was in a call.

A reader asks for one value each millisecond, in a process of its own, while nothing happens, while rows are refreshed
as fast as the machine can, and while two bare loops do the same without a schedule: those tell what is due to a machine
that is busy.
"""

import struct
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contender import Contender, bare_loop, ours, programs, run_round
from benchmarks.stage import Stage, wait_until
from rowcache_tasks.schedule.script import load_script
from rowcache_tasks.schedule.scripts import script_names

SLOW_US = 2000
"""Calls that take longer are looked at."""

RECORD = struct.Struct("<dd")


@dataclass
class Noticed:
    """What was seen in the rounds of one load."""

    get_ms: list[float] = field(default_factory=list)
    slow_ms: dict[str, list[float]] = field(default_factory=dict)
    """Script or command -> how long each call of over SLOW_US took, by the server's clock."""
    rates: list[float] = field(default_factory=list)
    """Rows refreshed a second."""
    calls: int = 0
    """Calls of scripts; of MSET, where there are none."""

    def percentile(self, share: float) -> float:
        """Give the time that so many of the GETs did not exceed; ms."""
        times = sorted(self.get_ms)
        return times[min(len(times) - 1, int(share * len(times)))]


def disturbance(stage: Stage, rows: int, batch_sizes: tuple[int, ...], rounds: int) -> dict[str, Noticed]:
    """Measure the loads in turn; label -> what was noticed. In a round, `rows` rows are refreshed."""
    loads = {
        f"refreshes, batches of {size}": Contender("ours", ours(2, ROWCACHE_BATCH_SIZE=str(size)), rows)
        for size in batch_sizes
    } | {"two bare loops": Contender("bare", bare_loop(2), rows)}
    found = {label: Noticed() for label in ["nothing", *loads]}
    stage.client.config_set("slowlog-log-slower-than", SLOW_US)
    stage.client.config_set("slowlog-max-len", 100_000)
    file = stage.folder / "gets"
    reader = [sys.executable, "-m", "benchmarks.programs.get_times", str(file)]
    with programs(stage, {"get-times": reader}):
        for _ in range(rounds):
            time.sleep(2.0)
            found["nothing"].get_ms += gets(file, time.time() - 1.5, time.time())
            for label, contender in loads.items():
                one_round(stage, contender, file, found[label])
    return found


def one_round(stage: Stage, contender: Contender, file: Path, noticed: Noticed) -> None:
    """Refresh the rows once, and see what happened between the first due time and the last value."""
    ended: list[float] = []

    def check() -> None:
        ended.append(time.time())
        stage.client.config_set("slowlog-log-slower-than", -1)

    stage.client.slowlog_reset()
    stage.client.config_set("slowlog-log-slower-than", SLOW_US)
    stage.client.config_resetstat()
    rate = run_round(stage, contender, check=check).rate
    started = ended[0] - contender.rows / rate
    noticed.rates.append(rate)
    noticed.get_ms += gets(file, started, ended[0])
    stats: Mapping[str, dict[str, int]] = stage.client.info("commandstats")
    noticed.calls += stats.get("cmdstat_evalsha", stats.get("cmdstat_mset", {})).get("calls", 0)
    for entry in stage.client.slowlog_get(100_000):
        if int(started) <= entry["start_time"]:
            noticed.slow_ms.setdefault(name_of(entry["command"]), []).append(entry["duration"] / 1000)


def name_of(command: bytes) -> str:
    """Name the script that was called, or the command."""
    words = command.decode(errors="replace").split(" ")
    known = {load_script(name).digest: name for name in script_names()}
    return known.get(words[1], words[0]) if len(words) > 1 else words[0]


def gets(file: Path, start: float, end: float) -> list[float]:
    """Give the times of the GETs that were sent within a span; ms."""

    def taken() -> list[tuple[float, float]]:
        data = file.read_bytes()
        return list(RECORD.iter_unpack(data[: len(data) - len(data) % RECORD.size]))

    # The last one of the span was answered when the next was sent.
    wait_until(lambda: (found := taken()) and found[-1][0] > end, "the reader reads", pause_s=0.05)
    return [1e3 * took for sent_at, took in taken() if start <= sent_at <= end]
