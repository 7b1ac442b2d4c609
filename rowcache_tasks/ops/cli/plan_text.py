"""Own how a plan looks: a table of its parts and lines of figures, or JSON. Must not know how it is made."""

import math
from typing import Any

from rowcache_tasks.ops.capacity import Plan, advise
from rowcache_tasks.text import show_duration

__all__ = ["as_json", "lay_out_plan"]

HEADER = ("PART", "COUNT", "BUSY", "CORES", "SATURATES AT")
WIDTHS = (22, 7, 6, 7, 14)
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))


def lay_out_plan(plan: Plan) -> list[str]:
    """Give the lines of a table and of figures."""
    rows = [
        (
            part.name,
            f"{part.count:g}",
            f"{100 * part.share:.0f} %",
            f"{part.cores:.2f}",
            "never" if math.isinf(part.saturates_at) else f"{part.saturates_at:.1f} times",
        )
        for part in plan.parts
    ]
    figures = figures_of(plan)
    width = max(map(len, figures))
    return [
        *map(lay_out, [HEADER, *rows]),
        "",
        *(f"{name:<{width}}  {value}" for name, value in figures.items()),
    ]


def lay_out(cells: tuple[str, ...]) -> str:
    """Join cells into a line: the name to the left, numbers to the right."""
    name, *others = cells
    return "  ".join(
        [name.ljust(WIDTHS[0]), *(cell.rjust(width) for cell, width in zip(others, WIDTHS[1:], strict=True))]
    )


def figures_of(plan: Plan) -> dict[str, str]:
    """Name the figures, as texts."""
    work, fill, links, most = plan.workload, plan.fill, plan.connections, plan.fleet.batch_size
    return {
        "rows": f"{work.rows:,.0f}, JSON {show_bytes(work.rows * work.row_bytes)}",
        "refreshes": f"{work.refreshes_per_s:,.1f} a second, {100 * work.changed_share:.0f} % of them find a change",
        "batches": f"{fill.batches_per_s:,.1f} a second, of {fill.rows_per_batch:,.1f} rows; {most} fit",
        "workers": f"{plan.workers}, with --concurrency={plan.fleet.processes_per_worker}",
        "processors": f"{plan.cores:.2f} cores in all, servers included",
        "lateness": late(plan.late_s),
        "database": f"{plan.queries_per_s:,.1f} SELECTs a second, {links.database:,} connections",
        "Redis": f"{show_bytes(plan.redis_bytes)} of memory, {links.redis:,} connections at most",
        "network of Redis": f"receives {show_bytes(plan.net_in)}/s, sends {show_bytes(plan.net_out)}/s",
        "warm-up": f"{show_duration(plan.warm_up_s)}, of which schedule_table takes {show_duration(plan.scheduling_s)}",
        "after an outage": f"every row is fresh {show_duration(plan.catch_up_s)} later, if all are due",
        "constants": plan.constants.about + (f"; speed {plan.fleet.speed:g}" if plan.fleet.speed != 1 else ""),
    }


def late(seconds: float) -> str:
    """Describe how late rows are."""
    return "without end" if math.isinf(seconds) else f"{show_duration(seconds)} on average from due to committed"


def show_bytes(count: float) -> str:
    """Write a number of bytes: 512 B, 4.1 kB, 620 MB."""
    size, unit = next(((size, unit) for size, unit in UNITS if count >= size), UNITS[-1])
    return f"{count / size:.3g} {unit}" if count < 999.5 * size else f"{count / size:,.0f} {unit}"


def as_json(plan: Plan) -> dict[str, Any]:
    """Give every number; null: without end."""
    work, fill = plan.workload, plan.fill
    return {
        "rows": work.rows,
        "refreshes_per_s": work.refreshes_per_s,
        "groups": [{"rows": group.rows, "every_s": group.every_s} for group in work.groups],
        "row_bytes": work.row_bytes,
        "changed_share": work.changed_share,
        "gets_per_s": work.gets_per_s,
        "tables": work.tables,
        "together": work.together,
        "batch_size": plan.fleet.batch_size,
        "rows_per_batch": fill.rows_per_batch,
        "batches_per_s": fill.batches_per_s,
        "parts": {
            part.name: {
                "count": part.count,
                "busy": part.share,
                "cores": part.cores,
                "saturates_at": part.saturates_at if math.isfinite(part.saturates_at) else None,
            }
            for part in plan.parts
        },
        "first_to_saturate": plan.first.name,
        "workers": plan.workers,
        "cores": plan.cores,
        "late_s": plan.late_s if math.isfinite(plan.late_s) else None,
        "queries_per_s": plan.queries_per_s,
        "redis_bytes": plan.redis_bytes,
        "redis_receives_bytes_per_s": plan.net_in,
        "redis_sends_bytes_per_s": plan.net_out,
        "redis_connections": plan.connections.redis,
        "database_connections": plan.connections.database,
        "scheduling_s": plan.scheduling_s,
        "warm_up_s": plan.warm_up_s if math.isfinite(plan.warm_up_s) else None,
        "catch_up_s": plan.catch_up_s if math.isfinite(plan.catch_up_s) else None,
        "constants": plan.constants.about,
        "advice": advise(plan),
    }
