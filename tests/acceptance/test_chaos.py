"""A short run of chaos: one fault of each kind, on small tables with a short lease. `make chaos` runs all of them."""

import os
import subprocess
import sys

import pytest
from support.project import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.long]

FAULTS = (
    "dispatcher killed",
    "worker killed",
    "worker child killed in a batch",
    "worker stopped for longer than its lease",
    "broker flushed",
    "cache stopped and started",
    "cache killed and started",
    "database stopped and started",
    "workers-cache hangs",
    "workers-database replies cut in half",
)
SHORT = ("--seconds=0", "--seed=1", "--rows=150", "--lease=2", "--max-delay=1", "--slack=80")
"""A row or a process that has not come back after 90 seconds is lost, however busy the machine is."""


def test_every_guarantee_holds_while_one_part_after_the_other_is_broken(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "proof.chaos", *SHORT, f"--logs={tmp_path}", *(f"--only={fault}" for fault in FAULTS)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout
    table = dict(line[2:].split(" | ", 1) for line in done.stdout.splitlines() if line.startswith("| "))
    for fault in FAULTS:
        assert table[fault].split(" | ")[:4] == ["1", "0", "0", "0"], "injected once; lost, back, come back"
