"""Processor time of one row by process and library.

One round runs under py-spy, whose samples divide the processor time of each Python process among the libraries. The
processor time itself is that of rounds without py-spy.
"""

from collections import Counter
from statistics import median

from benchmarks.contender import BATCH_SIZE, OURS, Contender, Pids
from benchmarks.options import Options
from benchmarks.profiler import sampled, shares
from benchmarks.progress import say
from benchmarks.round import run_round
from benchmarks.section import Section, Table
from benchmarks.servers import ROOT, Servers

PYTHON = {"dispatcher": "dispatcher", "worker": "worker's main process", "pool": "worker's pool"}
SERVERS = {"valkey": "Valkey", "postgres": "PostgreSQL"}


def run(servers: Servers, options: Options) -> Section:
    """Measure the processes, then sample them."""
    rows = 20_000 if options.is_quick else 200_000
    rounds = []
    for number in range(options.rounds):
        say(f"profile: round {number + 1} of {options.rounds}")
        rounds.append(run_round(servers, OURS, rows).cost_us)
    costs = {group: median(each[group] for each in rounds) for group in PYTHON | SERVERS}
    say("profile: a round under py-spy")
    samples = sample(servers, rows, options)
    return Section("profile", "Where the time goes", [table(costs, samples)], figures=costs)


def sample(servers: Servers, rows: int, options: Options) -> dict[str, Counter[str]]:
    """Run one round under py-spy; return the samples of each Python process by library."""
    folder = ROOT / "bench-results" / ("quick" if options.is_quick else "")
    folder.mkdir(parents=True, exist_ok=True)
    seen: list[Pids] = []
    running = sampled(OURS.running, folder, seen)
    run_round(servers, Contender(OURS.name, running, OURS.rate, is_ours=True), rows)
    recordings = {"dispatcher": "dispatcher", "worker": "worker", "pool": "worker"}
    return {group: shares(folder / f"profile-{name}.txt", seen[-1][group]) for group, name in recordings.items()}


def table(costs: dict[str, float], samples: dict[str, Counter[str]]) -> Table:
    """Divide the processor time of the Python processes among the libraries."""
    total = sum(samples.values(), Counter[str]())
    us = {
        library: [costs[group] * found[library] / max(1, found.total()) for group, found in samples.items()]
        for library in total
    }
    rows = [
        [library, *(f"{each:.2f}" for each in found), f"{sum(found):.2f}"]
        for library, found in sorted(us.items(), key=lambda item: -sum(item[1]))
    ]
    together = [costs[group] for group in PYTHON]
    rows.append(["all Python processes", *(f"{each:.2f}" for each in together), f"{sum(together):.2f}"])
    rows += [[label, "", "", "", f"{costs[group]:.2f}"] for group, label in SERVERS.items()]
    caption = (
        f"Processor time of one row in µs, batches of {BATCH_SIZE}, by the library of the innermost frame; "
        f"{total.total():,} samples. Compiled code and the standard library count for their caller."
    )
    return Table(["library", *PYTHON.values(), "together"], rows, caption)
