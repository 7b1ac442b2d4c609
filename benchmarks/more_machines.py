"""Own the comparison of the capacity model with the simulation, on deployments that are larger than this machine."""

from benchmarks.options import Options
from benchmarks.section import Table
from benchmarks.simulation import Simulation
from rowcache_tasks.ops.capacity import Constants, Fleet, Group, Plan, Workload, make_plan


def check_simulation(constants: Constants, options: Options) -> Table:
    """Compare formula and simulation on fleets that are larger than this machine."""
    seconds = 2.0 if options.is_quick else 10.0
    cells = [
        compare(constants, dispatchers, processes, rate, seconds)
        for dispatchers, processes, rate in ((1, 4, 1_000), (2, 8, 10_000), (4, 32, 20_000))
    ]
    return Table(
        [
            "dispatchers, worker processes",
            "refreshes/s",
            "rows in a batch: formula",
            "simulated",
            "Redis: formula",
            "simulated",
            "lateness: formula",
            "simulated",
            "most refreshes/s: formula",
            "simulated",
        ],
        cells,
        caption="More machines: the formula beside a simulation of each claim, message and commit",
    )


def plan_of(constants: Constants, dispatchers: int, processes: int, rate: float, every_s: float = 20.0) -> Plan:
    """Plan rows of one interval."""
    fleet = Fleet(dispatchers=dispatchers, processes=processes, processes_per_worker=4, database_cores=16)
    return make_plan(Workload((Group(rate * every_s, every_s),), changed_share=0.1), fleet, constants)


def compare(constants: Constants, dispatchers: int, processes: int, rate: float, seconds: float) -> list[str]:
    """Simulate a load, and then one and a half times what the formula gives as the limit."""
    plan = plan_of(constants, dispatchers, processes, rate)
    seen = Simulation(plan).run(seconds)
    limit = rate * plan.first.saturates_at
    most = Simulation(plan_of(constants, dispatchers, processes, 1.5 * limit, 5.0)).run(seconds / 5).rate
    return [
        f"{dispatchers}, {processes}",
        f"{rate:,.0f}",
        f"{plan.fill.rows_per_batch:.1f}",
        f"{seen.fill:.1f}",
        f"{100 * plan.part('Redis').busy:.0f} %",
        f"{100 * seen.busy['redis'] / seen.seconds:.0f} %",
        f"{1000 * plan.late_s:.1f} ms",
        f"{1000 * seen.late_s / max(1, seen.rows):.1f} ms",
        f"{limit:,.0f} ({plan.first.name})",
        f"{most:,.0f}",
    ]
