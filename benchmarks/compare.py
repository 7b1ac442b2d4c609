"""Comparison of commits of this package with this checkout, in one run.

    python -m benchmarks.compare --against REF[,REF…]

The checkouts take turns on the same servers, and a bare loop with them. Processor time a row is that of each process.
It is comparable on a busy machine too; rates and lateness are not.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import report
from benchmarks.cases import idle, lateness
from benchmarks.checkout import check_out
from benchmarks.contender import BARE, Contender, ours
from benchmarks.round import Round, run_round
from benchmarks.sample import Sample, interleave
from benchmarks.section import Table
from benchmarks.servers import ROOT, Servers, allocator_of, jemalloc_env

RATE = 1_000
"""Rows due a second, for lateness."""
WINDOW_S = 5.0

Checkouts = dict[str, Path]
"""Name of the commit -> folder."""


@dataclass
class Comparison:
    """Servers, checkouts, and the extent of the run."""

    servers: Servers
    checkouts: Checkouts
    rows: int
    rounds: int
    rounds_of: dict[str, list[Round]] = field(default_factory=dict)

    def compare_throughput(self) -> Table:
        """Compare the rate, and the processor time of each process."""
        entrants = [BARE, *(Contender(name, ours(2, path), 0, is_ours=True) for name, path in self.checkouts.items())]
        rates = interleave({each.name: partial(self._round, each) for each in entrants}, self.rounds)
        first, *_ = self.checkouts
        rows = []
        for name, rate in rates.items():
            rounds = self.rounds_of[name]
            cost = {group: median(each.cost_us[group] for each in rounds) for group in rounds[0].cost_us}
            groups = ", ".join(f"{group} {us:.2f}" for group, us in cost.items())
            total = self._total(name)
            beside = [total.over(self._total(other)).shown_ratio() for other in (BARE.name, first)]
            rows.append(
                [name, rate.shown(), rate.over(rates[BARE.name]).shown_ratio(), total.shown(".2f"), *beside, groups]
            )
        columns = ["checkout", "rows/s", "of the bare loop", "processor, µs a row", "of the bare loop's"]
        caption = f"{self.rows:,} rows a round. Valkey uses {allocator_of(self.servers.valkey)}."
        return Table([*columns, f"of that at {first}", "of it each process"], rows, caption)

    def compare_lateness(self) -> Table:
        """Compare the lateness at a steady rate, and the processor time that it takes."""
        found: dict[str, list[lateness.Window]] = {name: [] for name in self.checkouts}
        interleave(
            {name: partial(self._window, path, found[name]) for name, path in self.checkouts.items()}, self.rounds
        )
        rows = []
        for name, windows in found.items():
            late = [Sample([each.late_ms(share) for each in windows]).shown(".1f") for share in (0.5, 0.99)]
            rows.append([name, *late, Sample([1e6 * each.cores / RATE for each in windows]).shown()])
        columns = ["checkout", "p50, ms", "p99, ms", "processor, µs a row"]
        return Table(columns, rows, f"Lateness at {RATE:,} due rows a second, {WINDOW_S:.0f} s a round.")

    def compare_idle(self) -> Table:
        """Compare idle dispatchers."""
        found: dict[str, list[idle.Idle]] = {name: [] for name in self.checkouts}
        interleave({name: partial(self._idle, path, found[name]) for name, path in self.checkouts.items()}, self.rounds)
        rows = []
        for name, each in found.items():
            percents = [Sample([getattr(one, key) for one in each]) for key in ("processor_percent", "server_percent")]
            trips = Sample([one.round_trips for one in each]).shown(".1f")
            rows.append([name, trips, *(sample.shown(".2f") for sample in percents)])
        columns = ["checkout", "round trips to Redis/s", "processor, % of a core", "Redis, % of a core"]
        return Table(columns, rows, "An idle dispatcher.")

    def compare_reading(self) -> Table:
        """Compare reads in one process with those of the bare client."""
        found: dict[str, list[dict[str, tuple[float, float]]]] = {name: [] for name in self.checkouts}
        interleave({name: partial(self._read, path, found[name]) for name, path in self.checkouts.items()}, self.rounds)
        rows = []
        for name, each in found.items():
            cells = [Sample([one[call][n] for one in each]) for call in ("get", "get_many") for n in (0, 1)]
            rows.append([name, *(sample.shown(form) for sample, form in zip(cells, (".3f", ".1f") * 2, strict=True))])
        columns = ["checkout", "get, of the bare client", "processor, µs a call", "get_many of 100, of it", "µs a call"]
        return Table(columns, rows, "Reads of one process, beside GET or MGET and decode.")

    def _round(self, contender: Contender) -> float:
        done = self.rounds_of.setdefault(contender.name, [])
        done.append(run_round(self.servers, contender, self.rows, is_checked=not done))
        return done[-1].rate

    def _total(self, name: str) -> Sample:
        return Sample([sum(each.cost_us.values()) for each in self.rounds_of[name]])

    def _window(self, path: Path, found: list[lateness.Window]) -> float:
        self.servers.clear()
        with ours(2, path)(self.servers) as pids:
            found.append(lateness.measure(self.servers, pids, RATE, WINDOW_S))
        return found[-1].cores

    def _idle(self, path: Path, found: list[idle.Idle]) -> float:
        found.append(idle.measure(self.servers, WINDOW_S, idle.start_dispatcher(1), path))
        return found[-1].round_trips

    def _read(self, path: Path, found: list[dict[str, tuple[float, float]]]) -> float:
        self.servers.clear()
        with self.servers.connect() as connection:
            values = connection.execute("SELECT 'inv:' || id, to_json(inventory)::text FROM inventory WHERE id <= 1000")
            self.servers.client.mset(dict(values.fetchall()))
        program = ROOT / "benchmarks" / "programs" / "read_ratio.py"
        env = self.servers.env | {"PYTHONPATH": str(path)}
        found.append(json.loads(subprocess.check_output([sys.executable, program], cwd=path, env=env)))
        return found[-1]["get"][0]


CASES: dict[str, Callable[[Comparison], Table]] = {
    "throughput": Comparison.compare_throughput,
    "lateness": Comparison.compare_lateness,
    "idle": Comparison.compare_idle,
    "reading": Comparison.compare_reading,
}


def main() -> None:
    """Compare, and print the tables."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that worktrees and servers are removed
    arguments = parse_arguments()
    with ExitStack() as stack:
        checkouts = {ref: stack.enter_context(check_out(ref)) for ref in arguments.against.split(",")}
        checkouts["this checkout"] = ROOT
        servers = stack.enter_context(Servers(arguments.rows))
        if arguments.jemalloc:
            env = jemalloc_env()
            assert env, "no libjemalloc was found: install it, or name it in BENCH_JEMALLOC"
            servers = stack.enter_context(servers.with_valkey(**env))
        comparison = Comparison(servers, checkouts, arguments.rows, arguments.rounds)
        for name in arguments.only.split(","):
            print(f"\n{report.of_table(CASES[name](comparison))}", flush=True)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Compare commits, in one run.")
    parser.add_argument("--against", required=True, metavar="REF[,REF…]", help="commits to compare this checkout with")
    parser.add_argument("--only", default=",".join(CASES), metavar="CASE,…", help="of %(default)s; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100_000, help="rows that become due in a round")
    parser.add_argument("--jemalloc", action="store_true", help="run a Valkey that uses jemalloc")
    return parser.parse_args()


if __name__ == "__main__":
    main()
