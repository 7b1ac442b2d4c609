"""What is spent on nothing: processes that have nothing to do, and refreshes of rows that have not changed."""

from dataclasses import asdict

from benchmarks.idleness import idle_dispatcher, idle_worker
from benchmarks.options import Options
from benchmarks.section import Section, Table
from benchmarks.stage import Stage
from benchmarks.waste import wasted
from rowcache_tasks.dispatch.dispatcher import Limits


def run(stage: Stage, options: Options) -> Section:
    """Measure idle processes one after another, then refreshes."""
    section = Section("idle", "Idle and waste")
    seconds = 3.0 if options.is_quick else 10.0
    idle = {"a dispatcher": idle_dispatcher(stage, seconds)}
    if not options.is_quick:
        idle["two dispatchers"] = idle_dispatcher(stage, seconds, count=2)
        idle["a dispatcher of ten tables"] = idle_dispatcher(stage, seconds, tables=10)
    idle["a worker of two processes"] = idle_worker(stage, seconds)
    section.tables.append(
        Table(
            ["idle", "round trips to Redis/s", "commands/s", "processor, % of a core", "Redis, % of a core"],
            [
                [
                    what,
                    f"{found.round_trips:.1f}",
                    f"{found.commands:.1f}",
                    f"{found.processor_percent:.2f}",
                    f"{found.server_percent:.2f}",
                ]
                for what, found in idle.items()
            ],
            "10,000 rows are scheduled, none is due. A script is one round trip and several commands.",
        )
    )
    batch_size = Limits().batch_size
    waste = wasted(stage, 4_000 if options.is_quick else 50_000, batch_size)
    section.tables.append(
        Table(
            ["values", "bytes written to file and replicas, a row", "invalidations, a row", "queries, 1,000 rows"],
            [
                [what, f"{found.file_bytes:.0f}", f"{found.invalidations:.2f}", f"{found.queries:.2f}"]
                for what, found in waste.items()
            ],
            f"Batches of {batch_size}. Bytes: claim and commit together.",
        )
    )
    section.figures = {
        "idle": {what: asdict(found) for what, found in idle.items()},
        "waste": {what: asdict(found) for what, found in waste.items()},
    }
    return section
