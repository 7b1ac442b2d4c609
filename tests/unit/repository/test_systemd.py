"""Units of deploy/systemd/: systemd reads them without a complaint, and calls them confined."""

import shutil
import subprocess

import pytest
from support.project import ROOT

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"), key=lambda path: path.name)


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_unit_is_valid_and_confined(unit, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    text = unit.read_text()
    if "worker" in unit.name:
        assert "\nKillMode=mixed\nTimeoutStopSec=60\nRestart=always\n" in text, "only the main process gets SIGTERM"
    installed = tmp_path / unit.name
    installed.write_text(text.replace("/opt/rowcache/bin/celery", shutil.which("true")))
    for arguments in (("verify", "--man=no"), ("security", "--offline=true", "--threshold=20", "--no-pager")):
        done = subprocess.run(
            ["systemd-analyze", *arguments, str(installed)], capture_output=True, check=False, text=True
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
