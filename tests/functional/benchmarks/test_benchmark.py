"""The harness of the benchmarks on real servers and few rows: it must not rot between two measurements."""

import json
import os
import signal
import subprocess
import sys
from types import ModuleType

import psutil
import pytest
from support.project import ROOT
from support.waiting import wait_until

from benchmarks import run
from benchmarks.contender import Contender, bare_loop, ours, run_round
from benchmarks.options import Options
from benchmarks.results import Results
from benchmarks.section import Section
from benchmarks.stage import Stage

ROWS = 2_000


@pytest.fixture(scope="module")
def stage():
    with Stage(ROWS) as stage:
        yield stage


def servers_of(process):
    children = process.children()
    return children if len(children) == 2 else None


def cached(stage):
    values = stage.client.mget([f"inv:{row_id}" for row_id in range(1, ROWS + 1)])
    return [value and json.loads(value) for value in values]


def test_round_ends_when_every_row_was_refreshed(stage):
    contenders = [Contender("bare loop", bare_loop(1), ROWS), Contender("ours", ours(1), ROWS, is_ours=True)]
    left = {}

    for contender in contenders:
        found = run_round(stage, contender, lead_s=5.0)  # a slow machine is no failure here
        left[contender.name] = cached(stage)
        assert found.rate > 0
        assert {"valkey", "postgres"} < found.cost_us.keys()

    assert [row["id"] for row in left["ours"]] == list(range(1, ROWS + 1))
    assert left["ours"][0].keys() == left["bare loop"][0].keys()


def test_case_that_fails_stops_no_other_and_leaves_no_process(tmp_path, monkeypatch, capsys):
    class FewRows(Options):
        rows = 10

    left = []

    def fail(stage, options):
        left.append(stage.start("left", ["sleep", "60"]).pid)
        raise RuntimeError("this one fails")

    def succeed(name):
        return lambda stage, options: Section(name, name, figures={"rows": stage.rows})

    for name, case in {"idle": succeed("idle"), "scale": fail, "reading": succeed("reading")}.items():
        module = ModuleType(name)
        module.run = case
        monkeypatch.setitem(sys.modules, f"benchmarks.cases.{name}", module)

    failed = run.measure(["idle", "scale", "reading"], FewRows(is_quick=True), Results(), tmp_path / "results.json")

    assert failed == ["scale"]
    assert "this one fails" in capsys.readouterr().err
    assert not psutil.pid_exists(left[0]) or psutil.Process(left[0]).status() == psutil.STATUS_ZOMBIE
    written = Results.read(tmp_path / "results.json").results
    assert {name: result.section.figures for name, result in written.items()} == {
        "idle": {"rows": 10},
        "reading": {"rows": 10},
    }
    assert written["idle"].run["servers"]["database"].startswith("PostgreSQL 1")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_stops_every_process(tmp_path, number, status):
    log = tmp_path / "log"
    with log.open("wb") as output:
        program = subprocess.Popen(
            [sys.executable, "-m", "benchmarks", "--quick", "--only", "idle"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": "tests"},
            stdout=output,
            stderr=output,
        )
    process = psutil.Process(program.pid)
    children = wait_until(lambda: program.poll() is not None or servers_of(process), "it has started two servers")
    assert program.poll() is None, log.read_text()
    program.send_signal(number)

    assert program.wait(180) == status, log.read_text()
    assert log.read_text().splitlines()[-1].endswith("stopping everything")
    _, alive = psutil.wait_procs(children, timeout=90)
    assert not alive


def test_wrong_case_is_refused_in_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "reading,writing"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "tests"},
        capture_output=True,
        check=False,
        text=True,
        timeout=180,
    )

    assert done.returncode == 2
    assert "there is no case 'writing', only throughput, profile," in done.stderr.splitlines()[-1]
