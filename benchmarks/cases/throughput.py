"""Refresh throughput: rows a second from their due time until the last value is in the cache.

All contenders take turns; a round of each takes about two seconds. Further rounds measure this package with other
batch sizes and numbers of processes, and, where libjemalloc is found, with a Valkey that uses it.
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
from benchmarks.servers import Servers, allocator_of, find_jemalloc

CONTENDERS = (BARE, BARE_TWO, BOOK, CELERY_ROW, HUEY_ROW, OURS)

VARIANTS = (
    Contender("batches of 1", ours(ROWCACHE_BATCH_SIZE="1"), 400, is_ours=True),
    Contender("batches of 100", ours(ROWCACHE_BATCH_SIZE="100"), 25_000, is_ours=True),
    Contender("1 process", ours(1), 35_000, is_ours=True),
    Contender("4 processes", ours(4), 50_000, is_ours=True),
)

GROUPS = ("valkey", "postgres", "dispatcher", "worker", "pool")


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
    course, section = Course(options), Section("throughput", "Refresh throughput")
    library = find_jemalloc()
    with ExitStack() as stack:
        entrants = {each.name: (servers, each) for each in CONTENDERS}
        if not options.is_quick:
            entrants |= {each.name: (servers, each) for each in VARIANTS}
        allocators = {"": allocator_of(servers.valkey)}
        if library:
            other = stack.enter_context(servers.with_allocator(library))
            entrants |= {f"{each.name}, jemalloc": (other, each) for each in (BARE, OURS)}
            allocators[", jemalloc"] = allocator_of(other.valkey)
        measures = {name: partial(course.measure, *entrant, name) for name, entrant in entrants.items()}
        rates = interleave(measures, options.rounds)
    section.tables.append(contenders_table(rates, course, allocators[""]))
    section.charts.append(contenders_chart(rates))
    if not options.is_quick:
        section.tables.append(variants_table(rates, course))
    section.tables.append(allocators_table(rates, course, allocators))
    section.figures = figures(rates, course, allocators)
    return section


def contenders_table(rates: dict[str, Sample], course: Course, allocator: str) -> Table:
    """Compare the contenders, the fastest first."""
    rows = []
    for name in by_rate(rates):
        cost = course.cost(name)
        rows.append(
            [
                f"**{name}**" if name == OURS.name else name,
                "" if name == OURS.name else rates[OURS.name].over(rates[name]).shown_ratio(),
                "" if name == BARE.name else rates[name].over(rates[BARE.name]).shown_ratio(),
                rates[name].shown(),
                f"{course.total(name).median:,.1f}",
                ", ".join(f"{cost[group]:,.1f}" for group in ("valkey", "postgres")),
            ]
        )
    return Table(
        [
            *("contender", f"{OURS.name} is faster by", "of one bare loop"),
            *("rows/s", "processor, µs a row", "of it Valkey, PostgreSQL"),
        ],
        rows,
        f"Median and range of {course.options.rounds} rounds. {OURS.name}: batches of {BATCH_SIZE}. It and the task "
        f"queues have two worker processes. Valkey uses {allocator}.",
    )


def contenders_chart(rates: dict[str, Sample]) -> Chart:
    """Draw the contenders."""
    bars = [
        Series(name, [rates[name].median], [], min(rates[name].values), max(rates[name].values), name == OURS.name)
        for name in by_rate(rates)
    ]
    return Chart("throughput", "Rows refreshed a second", "bars", "rows/s", bars, log="x")


def by_rate(rates: dict[str, Sample]) -> list[str]:
    """List the contenders, the fastest first."""
    return sorted((each.name for each in CONTENDERS), key=lambda name: -rates[name].median)


def variants_table(rates: dict[str, Sample], course: Course) -> Table:
    """Compare batch sizes and numbers of processes."""
    names = [each.name for each in VARIANTS]
    lines = {f"batches of {BATCH_SIZE}, 2 processes": OURS.name} | {name: name for name in names}
    rows = [
        [label, rates[name].over(rates[BARE.name]).shown_ratio(), rates[name].shown(), *costs(course, name)]
        for label, name in lines.items()
    ]
    columns = [OURS.name, "of one bare loop", "rows/s", "processor, µs a row", *COST_COLUMNS]
    return Table(columns, rows, "Batch sizes, and processes of one worker. Processor time by process.")


COST_COLUMNS = ["Valkey", "PostgreSQL", "dispatcher", "worker's main process", "worker's pool"]


def costs(course: Course, name: str) -> list[str]:
    """Write the processor time a row: the sum and the part of each group."""
    cost = course.cost(name)
    return [f"{course.total(name).median:,.1f}", *(f"{cost[group]:,.1f}" for group in GROUPS)]


def allocators_table(rates: dict[str, Sample], course: Course, allocators: dict[str, str]) -> Table:
    """Compare the allocators of Valkey."""
    rows = []
    for suffix, allocator in allocators.items():
        mine, bare = OURS.name + suffix, BARE.name + suffix
        rows.append(
            [
                allocator,
                rates[mine].over(rates[bare]).shown_ratio(),
                course.total(mine).over(course.total(bare)).shown_ratio(),
                rates[mine].shown(),
                f"{course.cost(mine)['valkey']:,.1f}",
                rates[bare].shown(),
                f"{course.cost(bare)['valkey']:,.1f}",
            ]
        )
    columns = [
        *("allocator of Valkey", "rate over one bare loop", "processor time a row over a bare loop's"),
        *(f"{OURS.name}, rows/s", "its Valkey, µs a row", "bare loop, rows/s", "its Valkey, µs a row"),
    ]
    missing = "" if len(allocators) > 1 else " libjemalloc was not found."
    return Table(columns, rows, f"The same with each allocator.{missing}")


def figures(rates: dict[str, Sample], course: Course, allocators: dict[str, str]) -> dict[str, object]:
    """Return the numbers behind the tables; those over a bare loop with the last allocator."""
    suffix = [*allocators][-1]
    mine, bare = OURS.name + suffix, BARE.name + suffix
    return {
        "rows_per_s": {name: list(sample.values) for name, sample in rates.items()},
        "processor_us": {name: course.cost(name) for name in rates},
        "faster_by": {name: rates[OURS.name].over(rates[name]).median for name in by_rate(rates)},
        "allocator": allocators[suffix],
        "rate_over_bare": rates[mine].over(rates[bare]).median,
        "processor_over_bare": course.total(mine).over(course.total(bare)).median,
    }
