"""What changes with the number of scheduled rows: claims, commits, memory, starts, filling, and what readers notice.

The same rows are scheduled in Valkeys of 10 thousand, 1 million and 10 million rows, which take turns; see depot.py.
Costs are processor time of the server. The last needs 6 GiB of memory; a machine that has not so much leaves it out.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
from support.deployment import Deployment

from benchmarks.depot import Depot
from benchmarks.disturbance import Noticed, disturbance
from benchmarks.options import Options
from benchmarks.processor import Processor
from benchmarks.sample import Sample, interleave
from benchmarks.script_cost import Costs, claim_and_commit, longest_calls
from benchmarks.section import Line, Lines, Section, Table
from benchmarks.stage import Stage, wait_until
from rowcache_tasks.config.settings import MAX_BATCH_SIZE
from rowcache_tasks.dispatch.dispatcher import Limits

SIZES = (10_000, 1_000_000, 10_000_000)
QUICK_SIZES = (10_000, 200_000)

SHARES = (0.5, 0.99, 0.999, 1.0)

BYTES_PER_ROW = 600
"""Of memory that a depot needs while it is filled, with some to spare."""


def run(stage: Stage, options: Options) -> Section:
    """Measure on depots one after another, then on the stage."""
    section = Section("scale", "Scale: 10 thousand to 10 million scheduled rows")
    with ExitStack() as stack:
        depots = {size: stack.enter_context(Depot(size)) for size in sizes(options)}
        costs = claim_and_commit(depots, 5 if options.is_quick else 30)
        starts = interleave(
            {size: lambda depot=depot: start_s(depot, stage) for size, depot in depots.items()},  # type: ignore[misc]
            1 if options.is_quick else 5,
        )
        memory = {size: depot.bytes_per_row for size, depot in depots.items()}
        longest = longest_calls(depots[max(depots)], 3 if options.is_quick else 10)
    put_sizes(section, costs, starts, memory)
    put_longest(section, longest, max(memory))
    put_seeding(section, seed(stage))
    batches = (Limits().batch_size,) if options.is_quick else (Limits().batch_size, MAX_BATCH_SIZE)
    rows, rounds = (50_000, 1) if options.is_quick else (300_000, 2)
    put_disturbance(section, disturbance(stage, rows, batches, rounds))
    return section


def sizes(options: Options) -> list[int]:
    """Give the sizes for which the machine has the memory."""
    wanted = QUICK_SIZES if options.is_quick else SIZES
    free = psutil.virtual_memory().available
    return [size for size in wanted if size * BYTES_PER_ROW < free]


def start_s(depot: Depot, stage: Stage) -> float:
    """Start a dispatcher; seconds from the start of its process to its first claim."""
    with tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(depot.valkey, stage.database_url, Path(folder))
        try:
            before = deployment.stat("claimed")
            started = monotonic()
            deployment.start_beat(ROWCACHE_MAX_QUEUE="1", ROWCACHE_LEASE="600")
            wait_until(lambda: deployment.stat("claimed") > before, "the dispatcher claims", pause_s=0.002)
            return monotonic() - started
        finally:
            deployment.stop()
            depot.client.delete("queue:")
            depot.client.execute_command("SELECT 1")
            depot.client.flushdb()
            depot.client.execute_command("SELECT 0")


def seed(stage: Stage) -> dict[str, Any]:
    """Schedule every row of the stage's table, as the task schedule_table does."""
    stage.clear()
    argv = [sys.executable, "-m", "benchmarks.programs.seed_table"]
    child = stage.start("seed", argv, BENCH_DATABASE_URL=stage.database_url)
    try:
        wait_until(lambda: "ready" in stage.log("seed") or child.poll() is not None, "the program is ready")
        processor = Processor(stage.server_pids | {"python": [child.pid]})
        wait_until(lambda: "}" in stage.log("seed") or child.poll() is not None, "all are scheduled", 300, pause_s=0.1)
        used = processor.used()
        assert child.poll() is None, stage.log("seed")
        found: dict[str, Any] = json.loads(stage.log("seed").splitlines()[-1])
    finally:
        child.kill()
    return found | {"cost_us": {name: 1e6 * s / found["rows"] for name, s in used.items()}}


def put_sizes(
    section: Section, costs: Costs, starts: Mapping[int, Sample], memory: Mapping[int, Mapping[str, float]]
) -> None:
    """Show what was measured for each size, beside the smallest."""
    least = min(costs)
    table = Table(
        ["scheduled rows", "claim, µs a row", "commit, µs a row", "beside the smallest: claim", "commit", "start, s"],
        [],
        "Batches of 500; processor time of the server. Start: from the start of a dispatcher's process to its first "
        "claim.",
    )
    for size, cost in costs.items():
        ratios = [cost[what].over(costs[least][what]).shown(".2f") for what in ("claim", "commit")]
        cells = [cost[what].shown(".1f") for what in ("claim", "commit")]
        table.rows.append([f"{size:,}", *cells, *ratios, starts[size].shown(".2f")])
    bytes_table = Table(
        ["scheduled rows", "`schedule:`", "`delay:`", "`refreshed:`", "together", "`changed:`", "value and its key"],
        [
            [
                f"{size:,}",
                *(f"{found[key]:.0f}" for key in ("schedule:", "delay:", "refreshed:")),
                f"{found['schedule:'] + found['delay:'] + found['refreshed:']:.0f}",
                f"{found['changed:']:.0f}",
                f"{found['inv:']:.0f}",
            ]
            for size, found in memory.items()
        ],
        "Bytes of Redis's memory for a row. `changed:` holds the schedule changes of the last day. The last column is "
        "what a value takes beyond its own bytes, with us as with any other cache.",
    )
    section.tables += [table, bytes_table]
    lines = [
        Line(what, [float(size) for size in costs], [cost[what].median for cost in costs.values()], is_ours=True)
        for what in ("claim", "commit")
    ]
    section.lines.append(
        Lines(
            "scale", "Cost of a row by the size of the schedule", "scheduled rows", "µs", lines, is_x_logarithmic=True
        )
    )
    for size, cost in costs.items():
        section.figures[str(size)] = {
            "us": {what: sample.median for what, sample in cost.items()},
            "claim_ratio": cost["claim"].over(costs[least]["claim"]).median,
            "commit_ratio": cost["commit"].over(costs[least]["commit"]).median,
            "start_s": starts[size].median,
            "bytes_per_row": dict(memory[size]),
        }


def put_longest(section: Section, longest: Mapping[str, tuple[int, Sample]], size: int) -> None:
    """Show how long the server is within one call."""
    rows = [[script, f"{count:,}", sample.shown(".1f")] for script, (count, sample) in longest.items()]
    caption = f"New rows, as many as one call gets, with {size:,} rows scheduled: processor time of the server."
    section.tables.append(Table(["script", "rows", "ms"], rows, caption))
    section.figures["longest_ms"] = {script: sample.median for script, (_, sample) in longest.items()}


def put_seeding(section: Section, found: Mapping[str, Any]) -> None:
    """Show how long it takes to schedule a table."""
    rate, growth = found["rows"] / found["seconds"], found["kib"] - found["early_kib"]
    cost = found["cost_us"]
    tenths = [found["rows"] / 10 / found["tenths_s"][place] for place in (0, -1)]
    row = [
        f"{found['rows']:,}",
        f"{found['seconds']:.1f}",
        f"{rate:,.0f}",
        f"{tenths[0]:,.0f}",
        f"{tenths[1]:,.0f}",
        f"{cost['python']:.1f}, {cost['valkey']:.1f}, {cost['postgres']:.1f}",
        f"{growth / 1024:.1f}",
    ]
    columns = [
        "rows",
        "s",
        "rows/s",
        "in the first tenth",
        "in the last tenth",
        "µs of processor time a row: Python, Valkey, PostgreSQL",
        "memory grew by, MiB",
    ]
    caption = "schedule_table. Memory: of the process, from a tenth of the rows to the end."
    section.tables.append(Table(columns, [row], caption))
    section.figures["seeding"] = {"rows_per_s": rate, "memory_kib": found["kib"], "growth_kib": growth, "us": cost}
    section.figures["seeding"]["last_over_first"] = tenths[1] / tenths[0]


def put_disturbance(section: Section, found: Mapping[str, Noticed]) -> None:
    """Show what a reader noticed, and the calls of the server that took long."""
    table = Table(
        ["beside", "rows/s", "GET: p50, ms", "p99", "p99.9", "longest", "calls over 2 ms", "over 5 ms", "longest"],
        [],
        "A GET each millisecond, on the cores that everything else uses, too. Calls: of scripts, or of MSET, by the "
        "server's clock, which goes on while another process has its core.",
    )
    for label, noticed in found.items():
        slow = sorted(ms for each in noticed.slow_ms.values() for ms in each)
        rate = f"{Sample(noticed.rates).median:,.0f}" if noticed.rates else ""
        calls = [
            f"{len(slow)} of {noticed.calls:,}",
            str(sum(ms > 5 for ms in slow)),
            f"{slow[-1]:.1f} ms" if slow else "",
        ]
        percentiles = [f"{noticed.percentile(share):.2f}" for share in SHARES]
        table.rows.append([label, rate, *percentiles, *(calls if noticed.rates else ["", "", ""])])
        section.figures[label] = {
            "get_ms": {str(share): noticed.percentile(share) for share in SHARES},
            "gets": len(noticed.get_ms),
            "slow_ms": {name: [len(each), max(each)] for name, each in noticed.slow_ms.items()},
            "calls": noticed.calls,
            "rows_per_s": noticed.rates,
        }
    section.tables.append(table)
