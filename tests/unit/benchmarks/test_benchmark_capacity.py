"""What the benchmark of the capacity model computes: the fit, the file that is copied, and the simulation."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.calibration import Memory, Run, cycle_s, fit_constants
from benchmarks.constants import main as copy_constants
from benchmarks.fit import fit
from benchmarks.more_machines import plan_of
from benchmarks.observation import PARTS, Observation
from benchmarks.simulation import Simulation
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.ops.capacity import Constants, Cost, parse_constants
from rowcache_tasks.ops.capacity.fill import Rhythm, fill_batches

COSTS = {
    "dispatcher": Cost(look=300, batch=2000, row=5),
    "worker_main": Cost(second=2500, batch=2400, row=4),
    "worker_pool": Cost(batch=1900, row=8, byte=0.003),
    "redis": Cost(second=3000, look=20, batch=780, row=12, byte=0.005, changed=1),
    "database": Cost(batch=150, row=2, byte=0.001),
    "net_in": Cost(look=80, batch=6300, row=70, byte=1),
    "net_out": Cost(look=60, batch=5200, row=30),
}
CONSTANTS = Constants(
    about="made up",
    **COSTS,
    get_us=8,
    pass_us=3000,
    row_pass_us=11,
    start_us=4000,
    memory_row=290,
    memory_byte=1.1,
    scheduled_per_s=50_000,
)
KNOWN = {"redis": {"second": 3000}}
RUNS = ((0, 0, 0), (500, 500, 0), (600, 600, 1), (1000, 2000, 0.1), (800, 40_000, 0.3), (150, 30_000, 1))
"""Batches, rows, share that has changed; the first is idle."""


def run_of(batches, rows, changed, row_bytes=300.0, seconds=6.0):
    """A run in which everything costs what COSTS says."""
    counts = {
        "second": seconds,
        "look": seconds / 0.045,
        "batch": batches,
        "row": rows,
        "byte": rows * row_bytes,
    }
    counts["changed"] = rows * changed
    used = {part: sum(getattr(cost, name) * count for name, count in counts.items()) for part, cost in COSTS.items()}
    seen = Observation(
        at=seconds,
        rows=rows,
        changed=rows * changed,
        batches=batches,
        queries=batches,
        net_in=used["net_in"],
        net_out=used["net_out"],
        processor={part: used[part] / 1e6 for part in PARTS},
    )
    return Run("idle" if not batches else f"{rows / seconds:.0f}/s", seen, row_bytes)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.1, 100), min_size=3, max_size=3))
def test_fit_finds_costs_that_fit_exactly(costs):
    rows = [[1, 2, 0], [1, 50, 3], [1, 200, 1], [1, 10, 9], [0, 7, 7]]
    values = [sum(cell * cost for cell, cost in zip(row, costs, strict=True)) for row in rows]
    assert fit(rows, values, values) == pytest.approx(costs, rel=0.01)


def test_fit_gives_no_cost_below_zero():
    assert fit([[1, 1], [1, 2], [1, 3]], [3, 2, 1], [3, 2, 1])[1] == 0


def test_calibration_finds_the_costs_behind_the_runs():
    runs = [*(run_of(*each) for each in RUNS), run_of(200, 40_000, 1, 2000.0), run_of(200, 40_000, 0, 2000.0)]
    found = fit_constants(runs, Memory((300, 290 + 330), (2000, 290 + 2200)), 0.002, KNOWN)
    for part, cost in COSTS.items():
        for name, value in found[part].items():
            assert value == pytest.approx(getattr(cost, name), rel=0.05, abs=1e-6), (part, name)
    assert found["memory_row"] == pytest.approx(290, rel=0.01)
    assert found["memory_byte"] == pytest.approx(1.1, rel=0.01)


def test_pause_after_a_batch_is_found_from_how_full_batches_were():
    for rate in (300, 1_000, 5_000):
        fill = fill_batches(rate, 500, Rhythm(pass_s=0.004, row_s=0, linger_s=0.002, poll_s=0.045))
        run = run_of(round(100 * fill.batches_per_s), 100 * rate, 0, seconds=100.0)
        assert cycle_s(run) == pytest.approx(0.006, rel=0.03)


def test_constants_are_copied_from_results(tmp_path):
    figures = {"about": "mine", **{name: vars_of(cost) for name, cost in COSTS.items()}}
    figures |= {
        name: getattr(CONSTANTS, name) for name in ("get_us", "pass_us", "row_pass_us", "start_us", "scheduled_per_s")
    }
    figures |= {"memory_row": 290, "memory_byte": 1.1}
    source, target = tmp_path / "results.json", tmp_path / "constants.json"
    source.write_text(json.dumps({"sections": {"capacity": {"section": {"figures": {"constants": figures}}}}}))
    assert copy_constants([str(source)], target) == "constants.json: mine"
    assert parse_constants(json.loads(target.read_text())).redis == COSTS["redis"]


def test_nothing_is_copied_from_results_without_constants(tmp_path):
    source, target = tmp_path / "results.json", tmp_path / "constants.json"
    source.write_text(json.dumps({"sections": {}}))
    with pytest.raises(ArgumentError, match="there are no constants"):
        copy_constants([str(source)], target)
    assert not target.exists()


def vars_of(cost):
    return {name: getattr(cost, name) for name in ("second", "look", "batch", "row", "byte", "changed")}


# the simulation


@pytest.mark.parametrize(("dispatchers", "processes", "rate"), [(1, 4, 1_000), (2, 8, 4_000), (4, 32, 10_000)])
def test_formula_is_near_what_a_simulation_shows(dispatchers, processes, rate):
    plan = plan_of(CONSTANTS, dispatchers, processes, rate)
    seen = Simulation(plan).run(1.0, settle_s=0.5)
    assert seen.rate == pytest.approx(rate, rel=0.1)
    assert seen.fill == pytest.approx(plan.fill.rows_per_batch, rel=0.2)
    assert seen.busy["redis"] / seen.seconds == pytest.approx(plan.part("Redis").busy, rel=0.2)
    assert seen.busy["database"] / seen.seconds == pytest.approx(plan.part("database").busy, rel=0.2)
    assert seen.late_s / seen.rows == pytest.approx(plan.late_s, rel=0.5)


@pytest.mark.parametrize(("dispatchers", "processes"), [(1, 16), (4, 4)])
def test_part_that_saturates_first_is_the_limit_of_the_simulation_too(dispatchers, processes):
    limit = 1_000 * plan_of(CONSTANTS, dispatchers, processes, 1_000).first.saturates_at
    below = Simulation(plan_of(CONSTANTS, dispatchers, processes, 0.7 * limit, 1.0)).run(0.4, settle_s=0.3)
    above = Simulation(plan_of(CONSTANTS, dispatchers, processes, 1.5 * limit, 1.0)).run(0.4, settle_s=0.3)
    assert below.rate == pytest.approx(0.7 * limit, rel=0.1)
    assert above.rate == pytest.approx(limit, rel=0.25)


def test_simulation_of_the_same_plan_is_the_same():
    seen = [Simulation(plan_of(CONSTANTS, 2, 4, 500)).run(0.5) for _ in range(2)]
    assert seen[0] == seen[1]
    assert not math.isclose(seen[0].late_s, Simulation(plan_of(CONSTANTS, 2, 4, 500), seed=2).run(0.5).late_s)
