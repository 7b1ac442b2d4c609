"""Own what a plan means, in words: what saturates first, and what helps."""

from rowcache_tasks.ops.capacity.plan import MACHINE, Plan
from rowcache_tasks.text import show_duration

__all__ = ["advise"]

SMALL_SHARE = 0.25
"""Of a full batch: below, most of the cost is that of batches and not of rows."""
MAX_CONNECTIONS = 100
"""PostgreSQL's default."""


def advise(plan: Plan) -> list[str]:
    """Give lines for the person who plans, the most important first."""
    return [describe_first(plan), *describe_wall(plan), *warn(plan), *hint(plan)]


def describe_first(plan: Plan) -> str:
    """Say what saturates first."""
    part = plan.first
    if part.saturates_at < 1:
        return f"too much: {part.name} can do {part.saturates_at:.3g} of this load; rows get late without end"
    return f"first to saturate: {part.name}, at {part.saturates_at:.1f} times this load"


def describe_wall(plan: Plan) -> list[str]:
    """Say up to where more processes help, and what limits then."""
    part = plan.wall
    if part is plan.first:
        what = {
            "Redis": "one server runs commands on one core",
            "database": "give it more cores, or longer intervals",
            MACHINE: "it has no more cores",
        }
        return [f"more processes do not help: {part.name} is what limits, and {what[part.name]}"]
    return [f"with more processes: {part.name} limits, at {part.saturates_at:.1f} times this load"]


def warn(plan: Plan) -> list[str]:
    """Name the parts that are busier than they should be."""
    wanted = plan.fleet.utilisation
    found = [
        f"{part.name}: {100 * part.share:.0f} % busy, more than the {100 * wanted:.0f} % that were asked for"
        for part in plan.parts
        if part.share > wanted
    ]
    if plan.connections.database >= MAX_CONNECTIONS:
        found.append(
            f"database: {plan.connections.database} connections; PostgreSQL allows {MAX_CONNECTIONS} unless "
            "max_connections says otherwise"
        )
    return found


def hint(plan: Plan) -> list[str]:
    """Say what makes it cheaper."""
    found = []
    fill, size = plan.fill, plan.fleet.batch_size
    if fill.rows_per_batch < SMALL_SHARE * size and max(part.share for part in plan.parts) > SMALL_SHARE:
        found.append(
            f"batches hold {fill.rows_per_batch:.1f} of {size} rows, since rows are due one after another: "
            "twice the load costs much less than twice as much"
        )
    gets = plan.constants.get_us / 1e6 / plan.fleet.speed * plan.workload.gets_per_s
    if gets > plan.part("Redis").busy / 2:
        found.append("most of the time of Redis goes to GETs: a near cache answers repeated ones in the process")
    if plan.catch_up_s > 2 * plan.workload.longest_s:
        found.append(f"after an outage it takes {show_duration(plan.catch_up_s)} until every row is fresh")
    return found
