"""The constants of the capacity model, and whether it is right: what it says before a run, beside what the run shows.

A deployment of one dispatcher and one worker of two processes. The constants are fitted to runs with nothing due, with
all rows due at once and with rows of one interval; the checked runs are others: rows of three intervals, a tenth of
which change all the time. `python -m benchmarks.constants` copies the constants into the package.
"""

import os
from typing import Any

from benchmarks.calibration import Run, calibrate, fit_constants, get_us, rounded
from benchmarks.load import PROCESSES, Load, open_load
from benchmarks.machine import describe
from benchmarks.more_machines import check_simulation
from benchmarks.options import Options
from benchmarks.section import Section, Table
from benchmarks.stage import Stage
from rowcache_tasks.ops.capacity import Constants, Fleet, Group, Plan, Workload, make_plan, parse_constants

RATES, QUICK_RATES = (500, 3_000, 10_000), (500, 2_000, 5_000)
SHARES = ((0.5, 20.0), (0.3, 5.0), (0.2, 1.0))
"""Of the refreshes: so many are of rows with such an interval."""
CHANGING = 10
"""Of a hundred rows, how many change all the time."""


def run(stage: Stage, options: Options) -> Section:
    """Fit, predict, measure, compare; then simulate more machines with the same constants."""
    fleet = Fleet(dispatchers=1, processes=PROCESSES, processes_per_worker=PROCESSES, cores=os.cpu_count())
    section = Section("capacity", "The capacity model")
    with open_load(stage) as load:
        runs, memory = calibrate(load, options)
        found = fit_constants(runs, memory, fleet.linger_s, load.known)
        found |= {
            "about": about(stage),
            "get_us": get_us(stage, min(load.rows, 10_000), 0.6 if options.is_quick else 3.0, load),
            "scheduled_per_s": rounded(load.seeding_rate(5_000 if options.is_quick else 50_000)),
        }
        constants = parse_constants(found)
        section.figures["constants"] = found
        rows = [check(load, rate, fleet, constants, options) for rate in (QUICK_RATES if options.is_quick else RATES)]
    section.tables.append(comparison(rows))
    section.tables.append(describe_constants(found))
    section.tables.append(describe_runs(runs))
    section.tables.append(check_simulation(constants, options))
    section.figures["checks"] = [dict(zip(("rate", "pairs"), row, strict=True)) for row in rows]
    return section


def groups_of(rate: float) -> list[tuple[int, float]]:
    """Give groups of rows that are refreshed so often in a second."""
    return [(round(share * rate * every_s), every_s) for share, every_s in SHARES]


def check(
    load: Load, rate: int, fleet: Fleet, constants: Constants, options: Options
) -> tuple[int, dict[str, tuple[float, float]]]:
    """Predict a load, then run it; gives for each figure what was predicted and what was measured."""
    groups = groups_of(rate)
    load.show(changing=CHANGING)
    load.empty()
    load.burst(sum(count for count, _ in groups))
    workload = Workload(
        tuple(Group(count, every_s) for count, every_s in groups),
        row_bytes=load.row_bytes(),
        changed_share=CHANGING / 100,
    )
    plan = make_plan(workload, fleet, constants)
    seen = load.pace(groups, 2.0 if options.is_quick else 12.0, settle_s=0.5 if options.is_quick else 1.5)
    return rate, pairs(plan, Run(f"{rate}/s", seen, workload.row_bytes), load.values_bytes())


def pairs(plan: Plan, run: Run, memory: float) -> dict[str, tuple[float, float]]:
    """Pair what was predicted with what was measured."""
    seen, at = run.seen, run.seen.at
    processor = {name: 100 * used / at for name, used in seen.processor.items()}
    shares = {part.name: 100 * part.cores for part in plan.parts}
    return {
        "refreshes/s": (plan.workload.refreshes_per_s, seen.rows / at),
        "tasks/s": (plan.fill.batches_per_s, seen.batches / at),
        "rows in a batch": (plan.fill.rows_per_batch, run.fill),
        "dispatcher, % of a core": (shares["dispatchers"], processor["dispatcher"]),
        "worker's main process, % of a core": (shares["worker main processes"], processor["worker_main"]),
        "worker's processes, % of a core": (shares["worker processes"], processor["worker_pool"]),
        "Redis, % of a core": (shares["Redis"], processor["redis"]),
        "database, % of a core": (shares["database"], processor["database"]),
        "queries/s": (plan.queries_per_s, seen.queries / at),
        "Redis receives, kB/s": (plan.net_in / 1000, seen.net_in / at / 1000),
        "memory of Redis, MB": (plan.redis_bytes / 1e6, memory / 1e6),
    }


def comparison(rows: list[tuple[int, dict[str, tuple[float, float]]]]) -> Table:
    """Lay out the error of each prediction, and what was predicted and measured."""
    cells = [[name, *(describe_error(*found[name]) for _, found in rows)] for name in rows[0][1]]
    return Table(
        ["error (predicted, measured)", *(f"{rate:,} refreshes/s" for rate, _ in rows)],
        cells,
        caption="What the model predicted, beside what was measured then; rows of three intervals",
    )


def describe_error(predicted: float, measured: float) -> str:
    """Write by how much a prediction was wrong."""
    error = f"{100 * (predicted / measured - 1):+.0f} %" if measured else "-"
    return f"{error} ({show(predicted)}, {show(measured)})"


def describe_constants(found: dict[str, Any]) -> Table:
    """Lay out the constants."""
    units = {"net_in": "bytes Redis receives", "net_out": "bytes Redis sends"}
    kinds = ("second", "look", "batch", "row", "byte", "changed")
    cells = [
        [
            units.get(name, f"{name.replace('_', ' ')}, µs"),
            *(show(cost[kind]) if kind in cost else "" for kind in kinds),
        ]
        for name, cost in found.items()
        if isinstance(cost, dict)
    ]
    return Table(
        ["", "each second", "look", "batch", "row", "byte of JSON", "changed row"],
        cells,
        caption=f"The constants. {found['about']}. A GET: {show(found['get_us'])} µs of Redis. A row in memory: "
        f"{show(found['memory_row'])} bytes and {show(found['memory_byte'])} for each byte of JSON. "
        f"A dispatcher cannot claim for {show(found['pass_us'])} µs after a batch. "
        f"schedule_table: {found['scheduled_per_s']:,.0f} rows/s",
    )


def describe_runs(runs: list[Run]) -> Table:
    """Lay out what was fitted."""
    cells = []
    for each in runs:
        seen, batches = each.seen, max(1.0, each.seen.batches)
        used = [show(1e6 * value / batches) if seen.batches else "" for value in seen.processor.values()]
        cells.append([each.name, show(seen.rows / seen.at), show(each.fill), *used])
    head = ["dispatcher", "worker, main", "worker, processes", "Redis", "database"]
    return Table(
        ["run", "rows/s", "rows in a batch", *head],
        cells,
        caption="The runs behind them: processor time, µs a batch",
    )


def about(stage: Stage) -> str:
    """Say when and on what the constants were measured."""
    found = describe(stage)
    servers = ", ".join(found["servers"].values())
    return (
        f"{found['date'][:10]}, commit {found['commit']}, {found['cores']} cores of {found['processor']}, "
        f"Python {found['python']}, {servers}, load {found['load']:.1f} at the start"
    )


def show(value: float) -> str:
    """Write a number with three digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
