"""Where the time goes: processor time of one row by process, and within each by what it is spent on.

Our deployment, one dispatcher and a worker with a pool of two processes, refreshes rows that are all due at once, with
the default batch size and a small one. All values are new. A round gives

- the processor time of each process, from the operating system;
- within Valkey, the time of the commands of kombu and of the events, from its statistics; what the scripts cost is
  measured after the last round, with the same rows and nothing else going on (see script_time.py). The rest of its
  processor time is what it loses when processes take turns on a processor, and smaller things;
- within the Python processes, samples that they take of themselves on their own processor time (see sampler.py), and
  the parts that these belong to (see part.py). A part's time is its share of the samples times the time of its process.

Taking samples costs about one hundredth. The time of the benchmark itself is not in the figures.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks import sampler
from benchmarks.contender import LEAD_S, Contender, Round, ours, run_round
from benchmarks.options import Options
from benchmarks.part import DISPATCHER, MAIN, OURS, POOL
from benchmarks.profile import COMMANDS, PROCESSES, SCRIPTS, Profile
from benchmarks.progress import progress
from benchmarks.sample import Sample
from benchmarks.script_time import script_times
from benchmarks.section import Bar, Bars, Section, Table
from benchmarks.stage import Stage
from rowcache_tasks.config.settings import Settings

DEFAULT = next(int(field.default) for field in fields(Settings) if field.name == "batch_size")  # type: ignore[arg-type]
SIZES = (DEFAULT, 100)
"""The second one is far from the default, so that the two tell what a batch costs and what a row costs."""

BATCHES = 20
"""So many of each size go through the scripts by themselves."""

SHOWN = 16
"""Parts in the chart; the table has all that cost something."""
LEAST_US = 0.05


def run(stage: Stage, options: Options) -> Section:
    """Profile both batch sizes in turn."""
    rows = min(stage.rows, 50_000 if options.is_quick else 200_000)
    rounds = 1 if options.is_quick else 3
    profiles = {size: Profile() for size in SIZES}
    for number in range(rounds):
        for size, profile in profiles.items():
            progress.step(f"profile: batches of {size}, round {number + 1} of {rounds}")
            measure(stage, size, rows, profile)
            if number + 1 == rounds:
                progress.step(f"profile: batches of {size}, the scripts")
                profile.scripts = script_times(stage, size, rows, BATCHES)
    return section(profiles)


def measure(stage: Stage, size: int, rows: int, profile: Profile, lead_s: float = LEAD_S) -> None:
    """Add one round to a profile; `lead_s` as of run_round."""
    pids: dict[str, list[int]] = {}
    commands: dict[str, float] = {}
    until = 0.0

    with tempfile.TemporaryDirectory(prefix="samples-") as folder:

        @contextmanager
        def running(stage: Stage) -> Iterator[dict[str, list[int]]]:
            nonlocal until
            config = {"CELERY_CONFIG_MODULE": "benchmarks.programs.sampled_config", "BENCH_SAMPLES": folder}
            with ours(2, ROWCACHE_BATCH_SIZE=str(size), **config)(stage) as groups:
                pool = [child.pid for child in psutil.Process(groups["worker"][0]).children(recursive=True)]
                pids.update({DISPATCHER: groups["dispatcher"], MAIN: groups["worker"], POOL: pool})
                stage.client.config_resetstat()
                yield groups | {"pool": pool}
                until = stage.now()
                commands.update(command_times(stage))
                profile.batches.append(rows / calls(stage, "lpush"))

        found = run_round(stage, Contender("profile", running, rows), lead_s=lead_s)
        for process in PROCESSES[:3]:
            for pid in pids[process]:
                profile.stacks[process] += sampler.read(Path(folder), pid, until - rows / found.rate, until)
    add(profile, found, {name: us / rows for name, us in commands.items()})


def command_times(stage: Stage) -> dict[str, float]:
    """Give part of Valkey -> microseconds, since its statistics were reset."""
    statistics: Any = stage.client.info("commandstats")
    return {
        part: float(sum(statistics.get(f"cmdstat_{name}", {}).get("usec", 0) for name in names))
        for part, names in COMMANDS.items()
    }


def calls(stage: Stage, command: str) -> int:
    """Give how often a command was called since the statistics were reset."""
    statistics: Any = stage.client.info("commandstats")
    return int(statistics[f"cmdstat_{command}"]["calls"])


def add(profile: Profile, found: Round, commands: dict[str, float]) -> None:
    """Note the figures of a round."""
    costs = found.cost_us
    profile.rates.append(found.rate)
    profile.commands.append(commands)
    main = costs["worker"] - costs["pool"]
    own = (costs["dispatcher"], main, costs["pool"], costs["valkey"], costs["postgres"])
    for process, cost in zip(PROCESSES, own, strict=True):
        profile.costs[process].append(cost)


def section(profiles: dict[int, Profile]) -> Section:
    """Write the tables, the chart and the figures."""
    parts = {size: profile.parts() for size, profile in profiles.items()}
    return Section(
        "profile",
        "Where the time goes",
        tables=[process_table(profiles), part_table(parts)],
        bars=[chart(parts[DEFAULT])],
        figures=figures(profiles, parts),
    )


def process_table(profiles: dict[int, Profile]) -> Table:
    """Write the processor time by process, and what of it is for the batch and what for the row."""
    table = Table(
        ["Processor time of one row, µs", *(f"batches of {size}" for size in SIZES), "µs a batch", "and µs a row"],
        [],
        caption="The last two columns: what a batch costs however many rows it has, and what each row adds, worked out "
        "from the two batch sizes.",
    )
    for process in PROCESSES:
        fixed, each = split({size: profile.cost(process).median for size, profile in profiles.items()}, profiles)
        shown = [profile.cost(process).shown(".1f") for profile in profiles.values()]
        table.rows.append([process, *shown, f"{fixed:,.0f}", f"{each:.1f}"])
    fixed, each = split({size: profile.total.median for size, profile in profiles.items()}, profiles)
    sums = [profile.total.shown(".1f") for profile in profiles.values()]
    table.rows.append(["all", *sums, f"{fixed:,.0f}", f"{each:.1f}"])
    table.rows.append(["rows/s", *(Sample(profile.rates).shown() for profile in profiles.values()), "", ""])
    return table


def split(costs: dict[int, float], profiles: dict[int, Profile]) -> tuple[float, float]:
    """Split the cost of a row at two batch sizes: microseconds a batch, and microseconds a row beside them."""
    (one, other) = (1 / median(profiles[size].batches) for size in SIZES)
    fixed = (costs[SIZES[0]] - costs[SIZES[1]]) / (one - other)
    return max(0.0, fixed), costs[SIZES[0]] - max(0.0, fixed) * one


def part_table(parts: dict[int, dict[tuple[str, str], float]]) -> Table:
    """Write what one row costs, the dearest first."""
    mine = parts[DEFAULT]
    total = sum(mine.values())
    table = Table(
        ["One row costs", f"µs, batches of {DEFAULT}", "share", f"µs, batches of {SIZES[1]}"],
        [["all", f"{total:.1f}", "100 %", f"{sum(parts[SIZES[1]].values()):.1f}"]],
    )
    rest = [0.0, 0.0]
    for key in sorted(mine, key=lambda key: -mine[key]):
        other = parts[SIZES[1]].get(key, 0.0)
        if mine[key] < LEAST_US:
            rest = [rest[0] + mine[key], rest[1] + other]
            continue
        table.rows.append([": ".join(key), f"{mine[key]:.2f}", f"{mine[key] / total:.1%}", f"{other:.2f}"])
    table.rows.append(["smaller parts", f"{rest[0]:.2f}", f"{rest[0] / total:.1%}", f"{rest[1]:.2f}"])
    return table


def chart(parts: dict[tuple[str, str], float]) -> Bars:
    """Draw the dearest parts; what is left is one bar more."""
    ordered = sorted(parts, key=lambda key: -parts[key])
    bars = [
        Bar(": ".join(key), parts[key], parts[key], parts[key], is_ours=key[1] in OURS or key[1].startswith(SCRIPTS))
        for key in ordered[:SHOWN]
    ]
    rest = sum(parts[key] for key in ordered[SHOWN:])
    bars.append(Bar(f"{len(ordered) - SHOWN} smaller parts", rest, rest, rest))
    title = f"What one row costs, in batches of {DEFAULT}; highlighted: this package, its scripts included"
    return Bars("profile", title, "µs of processor time", bars)


def figures(profiles: dict[int, Profile], parts: dict[int, dict[tuple[str, str], float]]) -> dict[str, object]:
    """Give the numbers, by batch size."""
    found: dict[str, object] = {}
    for size, profile in profiles.items():
        by_process: dict[str, dict[str, float]] = {process: {} for process in PROCESSES}
        for (process, part), cost in parts[size].items():
            by_process[process][part] = round(cost, 4)
        found[f"batch_{size}"] = {
            "rows_per_second": median(profile.rates),
            "rows_per_batch": median(profile.batches),
            "us_per_row": {process: profile.cost(process).median for process in PROCESSES},
            "us_per_row_all": profile.total.median,
            "us_per_row_by_part": by_process,
            "samples": {process: stacks.total() for process, stacks in profile.stacks.items()},
        }
    costs = {process: {size: p.cost(process).median for size, p in profiles.items()} for process in PROCESSES}
    found["per_batch_us"] = {process: split(costs[process], profiles)[0] for process in PROCESSES}
    found["per_row_us"] = {process: split(costs[process], profiles)[1] for process in PROCESSES}
    return found
