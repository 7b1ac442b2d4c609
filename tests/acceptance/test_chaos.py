"""A short run of chaos: every fault once, on small tables with a short lease. `make chaos` runs it for longer."""

import os
import subprocess
import sys

import pytest
from chaos.fault import FAULTS
from deployment import ROOT

pytestmark = pytest.mark.acceptance

SHORT = ("--seconds=0", "--seed=1", "--rows=150", "--lease=2", "--max-delay=1")


def test_every_guarantee_holds_while_each_part_is_broken_once(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "chaos", *SHORT, f"--logs={tmp_path}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    table = dict(line[2:].split(" | ", 1) for line in done.stdout.splitlines() if line.startswith("| "))
    for fault in FAULTS:
        assert table[fault.name].split(" | ")[:4] == ["1", "0", "0", "0"], "injected once; lost, back, come back"
