"""The profile of a refresh, with few rows: that it sees the processes, the scripts and what they do."""

import os
import subprocess
import sys
from math import isclose

import pytest
from support.project import ROOT

from benchmarks import sampler
from benchmarks.cases.profile import measure
from benchmarks.part import DISPATCHER, MAIN, POOL
from benchmarks.profile import Profile
from benchmarks.script_time import script_times
from benchmarks.stage import Stage

ROWS = 4_000

BUSY = """
import os, sys, time
from pathlib import Path
from benchmarks import sampler

def work():
    until = time.process_time() + 0.5
    while time.process_time() < until:
        sum(range(1000))

sampler.start(Path(sys.argv[1]))
child = os.fork()
work()
if child:
    time.sleep(0.2)  # what is not the processor's time is not seen
    os.waitpid(child, 0)
    print(child)
"""


@pytest.fixture(scope="module")
def stage():
    with Stage(ROWS) as stage:
        yield stage


def test_process_and_its_fork_write_down_what_they_spend_time_on(tmp_path):
    argv = [sys.executable, "-c", BUSY, str(tmp_path)]
    with subprocess.Popen(
        argv, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as parent:
        child = int(parent.communicate()[0])

    for pid in (parent.pid, child):
        stacks = sampler.read(tmp_path, pid, 0, float("inf"))
        assert stacks.total() > 20
        seen = sum(count for stack, count in stacks.items() if any(name.endswith(":work") for name in stack))
        assert seen >= 0.8 * stacks.total(), stacks  # the rest is the end of the interpreter
    assert not sampler.read(tmp_path, child, 0, 1.0)


def test_scripts_are_told_apart_with_the_commands_in_them(stage):
    stage.client.mset({f"inv:{n}": b"x" * 300 for n in range(1, ROWS + 1)})

    times = script_times(stage, 200, ROWS, 6)

    assert {"claim_rows: ZADD", "commit_rows: ZADD"} < times.keys()
    assert {name.partition(":")[0] for name in times} == {"claim_rows", "commit_rows"}
    assert sum(times.values()) > 1
    assert stage.cached() == 0


def test_every_part_of_a_refresh_is_found(stage):
    found = Profile()

    measure(stage, 100, ROWS, found, lead_s=5.0)  # a slow machine is no failure here
    found.scripts = script_times(stage, 100, ROWS, 4)

    parts = found.parts()
    assert found.batches[0] <= 100
    for process, name in ((DISPATCHER, "send: kombu"), (MAIN, "receive: kombu"), (POOL, "commit: call the script")):
        samples = found.stacks[process].total()
        mine = {part: cost for (of, part), cost in parts.items() if of == process}
        assert isclose(sum(mine.values()), found.cost(process).median if samples else 0.0, abs_tol=0.01)
        assert name in mine or samples < 40, (mine, samples)
