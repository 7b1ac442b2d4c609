"""Short runs of the benchmarks."""

import os
import subprocess
import sys

import pytest
from support.forked_child import python_child
from support.project import ROOT

from benchmarks.contender import OURS
from benchmarks.round import run_round
from benchmarks.servers import Servers

ROWS = 2000


def test_clock_of_a_round_stops_when_no_row_is_due_or_leased():
    with Servers(ROWS, child=python_child) as servers:
        servers.schedule(1, ROWS, 60, servers.now() + 60)
        servers.put_old_values(ROWS, 60)
        assert servers.count_old_values() == ROWS
        found = run_round(servers, OURS, ROWS, is_checked=True)
        assert servers.client.zcount("schedule:", "-inf", servers.now() + 60) == 0
    assert set(found.cost_us) == {"valkey", "postgres", "dispatcher", "worker", "pool"}
    assert all(us > 0 for us in found.cost_us.values())


@pytest.mark.long
def test_quick_run_of_one_case_prints_its_table():
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "idle"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=False, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| a dispatcher |")]
    assert len(lines) == 1, done.stdout
    assert 1 < float(lines[0][2]) < 100, "round trips a second"
