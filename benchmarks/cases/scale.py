"""Cost and memory of 10 thousand to 10 million scheduled rows.

Valkeys of each size take turns. Costs are processor time of the server. 10 million rows need 6 GiB of memory; a
machine without them leaves that size out.
"""

from collections.abc import Mapping
from contextlib import ExitStack

import psutil

from benchmarks.filled_valkey import ZSETS, FilledValkey
from benchmarks.options import Options
from benchmarks.progress import say
from benchmarks.sample import Sample
from benchmarks.script_cost import BATCH, Costs, call_costs, claim_and_commit
from benchmarks.section import Chart, Section, Series, Table
from benchmarks.servers import Servers, allocator_of

SIZES = (10_000, 1_000_000, 10_000_000)
QUICK_SIZES = (10_000, 200_000)

BYTES_PER_ROW = 600
"""Memory needed for a row while a Valkey is filled, with a reserve."""


def run(_servers: Servers, options: Options) -> Section:
    """Measure Valkeys of all sizes."""
    free = psutil.virtual_memory().available
    sizes = [size for size in (QUICK_SIZES if options.is_quick else SIZES) if size * BYTES_PER_ROW < free]
    filled = {}
    with ExitStack() as stack:
        for size in sizes:
            say(f"scale: filling a Valkey with {size:,} rows")
            filled[size] = stack.enter_context(FilledValkey(size))
        say("scale: claims and commits")
        costs = claim_and_commit(filled, 5 if options.is_quick else 60)
        calls = call_costs(filled[sizes[-1]], 3 if options.is_quick else 10)
        allocator = allocator_of(filled[sizes[0]].valkey)
    memory = {size: each.bytes_per_row for size, each in filled.items()}
    least = costs[sizes[0]]
    ratios = {size: {script: cost[script].over(least[script]) for script in cost} for size, cost in costs.items()}
    section = Section("scale", "Scale: 10 thousand to 10 million scheduled rows")
    section.tables = [costs_table(costs, ratios), memory_table(memory, allocator), calls_table(calls, sizes[-1])]
    section.charts = [chart(costs)]
    section.figures = {"longest_call_ms": max(sample.median for _, sample in calls.values())} | {
        str(size): {
            "claim_us": costs[size]["claim"].median,
            "claim_ratio": ratios[size]["claim"].median,
            "bytes_per_row": sum(memory[size][key] for key in ZSETS),
        }
        for size in sizes
    }
    return section


def costs_table(costs: Costs, ratios: Costs) -> Table:
    """Compare each size with the smallest."""
    rows = [
        [
            f"{size:,}",
            *(sample.shown(".1f") for sample in cost.values()),
            *(ratio.shown_ratio() for ratio in ratios[size].values()),
        ]
        for size, cost in costs.items()
    ]
    columns = ["scheduled rows", "claim, µs a row", "commit, µs a row", "beside the smallest: claim", "commit"]
    return Table(columns, rows, f"Batches of {BATCH}; processor time of the server.")


def memory_table(memory: Mapping[int, Mapping[str, float]], allocator: str) -> Table:
    """Show the memory of a row by key."""
    rows = []
    for size, found in memory.items():
        zsets = [found[key] for key in ZSETS]
        rows.append([f"{size:,}", *(f"{each:.0f}" for each in (*zsets, sum(zsets), found["inv:"]))])
    caption = (
        f"Bytes of memory a row; {allocator}. `changed:` holds the schedule changes of the last day. The last column "
        "is the memory of a key and its value beyond the bytes of the value, as in any cache on Redis."
    )
    return Table(["scheduled rows", *(f"`{key}`" for key in ZSETS), "together", "key and value"], rows, caption)


def calls_table(calls: Mapping[str, tuple[int, Sample]], size: int) -> Table:
    """Show how long the server is busy with one call."""
    rows = [[name, str(count), sample.shown(".1f")] for name, (count, sample) in calls.items()]
    caption = f"{BATCH} new rows, with {size:,} rows scheduled; processor time of the server."
    return Table(["operation", "calls", "ms a call"], rows, caption)


def chart(costs: Costs) -> Chart:
    """Draw the costs by size."""
    lines = [
        Series(
            script, [cost[script].median for cost in costs.values()], [*map(float, costs)], is_ours=script == "claim"
        )
        for script in ("claim", "commit")
    ]
    title = "Cost of a row by the size of the schedule"
    return Chart("scale", title, "lines", "µs", lines, x_unit="scheduled rows", log="x")
