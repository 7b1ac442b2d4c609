"""One short run of the benchmarks."""

import os
import subprocess
import sys

from support.deployment import ROOT


def test_quick_run_of_one_case_prints_its_table():
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "idle"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=False, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| a dispatcher |")]
    assert len(lines) == 1, done.stdout
    assert 1 < float(lines[0][2]) < 100, "round trips a second"
