"""Rows refreshed a second, beside the other contenders.

All rows have an old value and become due at one moment; `benchmarks.round` has the clock. All contenders take turns; a
round of each takes about two seconds. The others are this package with other batch sizes and numbers of processes, and,
where libjemalloc is found, this package and the bare loop on a Valkey that uses it.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from benchmarks.contender import BARE, BARE_TWO, BATCH_SIZE, BOOK, CELERY_ROW, HUEY_ROW, OURS, Contender, ours
from benchmarks.options import Options
from benchmarks.round import Round, run_round
from benchmarks.sample import Sample, interleave
from benchmarks.section import Chart, Section, Series, Table
from benchmarks.servers import Servers, allocator_of, jemalloc_env

CONTENDERS = (BARE, BARE_TWO, BOOK, CELERY_ROW, HUEY_ROW, OURS)

VARIANTS = (
    Contender(f"{OURS.name}, batches of 1", ours(ROWCACHE_BATCH_SIZE="1"), 400, is_ours=True),
    Contender(f"{OURS.name}, batches of 100", ours(ROWCACHE_BATCH_SIZE="100"), 25_000, is_ours=True),
    Contender(f"{OURS.name}, 1 process", ours(1), 35_000, is_ours=True),
    Contender(f"{OURS.name}, 4 processes", ours(4), 50_000, is_ours=True),
)

JEMALLOC = ", jemalloc"
NOT_MEASURED = "not measured: no libjemalloc"
COLUMNS = [
    *("contender", f"{OURS.name} is faster by", "of one bare loop", "rows/s"),
    *("processor, µs a row", "of a bare loop's", "of it each process"),
]


@dataclass
class Course:
    """The rounds of all contenders."""

    options: Options
    rounds: dict[str, list[Round]] = field(default_factory=dict)

    def measure(self, servers: Servers, contender: Contender, name: str) -> float:
        """Run a round; return rows a second. The values of the last round are compared with the database."""
        done = self.rounds.setdefault(name, [])
        rows = min(servers.rows, int(contender.rate * (0.4 if self.options.is_quick else 2.0)))
        done.append(run_round(servers, contender, rows, is_checked=len(done) == self.options.rounds - 1))
        return done[-1].rate

    def cost(self, name: str) -> dict[str, float]:
        """Return the processor time a row: group of processes -> median in microseconds."""
        found = self.rounds[name]
        return {group: median(each.cost_us[group] for each in found) for group in found[0].cost_us}

    def total(self, name: str) -> Sample:
        """Return the processor time a row of all processes in each round; microseconds."""
        return Sample([sum(each.cost_us.values()) for each in self.rounds[name]])


def run(servers: Servers, options: Options) -> Section:
    """Measure all contenders in turn."""
    course, env = Course(options), jemalloc_env()
    entrants = {each.name: (servers, each) for each in CONTENDERS + (() if options.is_quick else VARIANTS)}
    allocators = allocator_of(servers.valkey)
    with ExitStack() as stack:
        if env:
            other = stack.enter_context(servers.with_valkey(**env))
            entrants |= {each.name + JEMALLOC: (other, each) for each in (BARE, OURS)}
            allocators += f", in the lines so named {allocator_of(other.valkey)}"
        else:
            allocators += f"; with jemalloc {NOT_MEASURED}"
        measures = {name: partial(course.measure, *entrant, name) for name, entrant in entrants.items()}
        rates = interleave(measures, options.rounds)
    names = sorted(rates, key=lambda name: -rates[name].median)
    caption = (
        f"Median and range of {options.rounds} rounds. {OURS.name} has batches of {BATCH_SIZE}; it and the task queues "
        f"have two worker processes. Valkey uses {allocators}."
    )
    return Section(
        "throughput",
        "Refresh throughput",
        [Table(COLUMNS, [row(name, rates, course) for name in names], caption)],
        [chart(rates, names)],
        {
            "rows_per_s": {name: list(rates[name].values) for name in names},
            "processor_us": {name: course.cost(name) for name in names},
            "faster_by": {name: rates[OURS.name].over(rates[name]).median for name in names},
            "beside_bare": beside_bare(rates, course, ""),
            "beside_bare_jemalloc": beside_bare(rates, course, JEMALLOC) if env else {},
        },
    )


def beside_bare(rates: dict[str, Sample], course: Course, suffix: str) -> dict[str, float]:
    """Compare this package with the bare loop on the same server."""
    mine, bare = OURS.name + suffix, BARE.name + suffix
    return {
        "rate": rates[mine].over(rates[bare]).median,
        "processor": course.total(mine).over(course.total(bare)).median,
    }


def row(name: str, rates: dict[str, Sample], course: Course) -> list[str]:
    """Write a row of the table; a line with jemalloc is compared with the others that have it."""
    suffix = JEMALLOC if name.endswith(JEMALLOC) else ""
    bare, mine, cost = BARE.name + suffix, OURS.name + suffix, course.cost(name)
    return [
        f"**{name}**" if name == mine else name,
        "" if name.startswith(OURS.name) else rates[mine].over(rates[name]).shown_ratio(),
        "" if name == bare else rates[name].over(rates[bare]).shown_ratio(),
        rates[name].shown(),
        f"{course.total(name).median:,.1f}",
        "" if name == bare else course.total(name).over(course.total(bare)).shown_ratio(),
        ", ".join(f"{group} {us:,.1f}" for group, us in cost.items()),
    ]


def chart(rates: dict[str, Sample], names: list[str]) -> Chart:
    """Draw the contenders."""
    contenders = [each.name for each in CONTENDERS]
    bars = [
        Series(name, [rates[name].median], [], min(rates[name].values), max(rates[name].values), name == OURS.name)
        for name in names
        if name in contenders
    ]
    return Chart("throughput", "Rows refreshed a second", "bars", "rows/s", bars, log="x")
