"""How many rows a second are refreshed, from the moment when they are due until the last of them is in the cache.

All contenders refresh rows of the same table on the same servers; alternatives.py says how each is configured. They
take turns, and after its last round some of the values of each are compared with the rows in the database. All rows of
a round are due at one moment. The processor time is of all processes that take part, the servers included.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from statistics import median

from benchmarks import alternatives
from benchmarks.comparison import compare_values
from benchmarks.contender import Contender, Round, Running, bare_loop, ours, run_round
from benchmarks.environment import NoEnvironmentError
from benchmarks.options import Options
from benchmarks.progress import progress
from benchmarks.sample import Sample, interleave
from benchmarks.section import Bar, Bars, Line, Lines, Section, Table
from benchmarks.stage import Stage
from rowcache_tasks.config.settings import Settings

BARE = "bare loop"
OURS = "rowcache_tasks"
SERVERS = ("valkey", "postgres")

ALTERNATIVES: dict[str, tuple[Callable[[], Running], int]] = {
    BARE: (lambda: bare_loop(1), 60_000),
    "bare loop, 2 processes": (lambda: bare_loop(2), 100_000),
    "the book's daemon": (alternatives.book_daemon, 1_400),
    "Celery, a task a row": (alternatives.celery, 700),
    "Celery, a task a row, 2 × solo": (alternatives.celery_solo, 1_000),
    "celery-batches": (alternatives.celery_batches, 1_500),
    "RQ": (alternatives.rq, 500),
    "arq": (alternatives.arq, 900),
    "dramatiq": (alternatives.dramatiq, 2_200),
    "taskiq": (alternatives.taskiq, 900),
    "huey": (alternatives.huey, 2_000),
}
"""Name -> how it is run, and about how many rows a second it refreshes on two cores: so many for a second of work."""

ONLY_FULL = ("Celery, a task a row, 2 × solo",)

RATES = {1: 400, 10: 4_000, 100: 25_000, 200: 40_000, 500: 50_000, 1000: 50_000}
"""The same of ours: size of a batch -> rows a second."""

SIZES = (1, 10, 100, 500, 1000)
POOL_SIZE = 500
POOLS = (("prefork", 1), ("prefork", 2), ("prefork", 4), ("threads", 1), ("threads", 2), ("threads", 4))


@dataclass
class Course:
    """The rounds: runs one of a contender at a time and keeps what it cost."""

    stage: Stage
    rounds: int
    costs: dict[str, list[Round]] = field(default_factory=dict)

    def measure(self, contender: Contender) -> float:
        """Run a round; gives rows a second. The last round of a contender ends with a look at its values."""
        done = self.costs.setdefault(contender.name, [])

        def check() -> None:
            if len(done) == self.rounds - 1:
                compare_values(self.stage, contender.name, contender.rows)

        done.append(run_round(self.stage, contender, check=check))
        return done[-1].rate

    def cost(self, name: str) -> dict[str, float]:
        """Give the microseconds of processor time a row: group of processes -> median."""
        found = self.costs[name]
        return {group: median(each.cost_us[group] for each in found) for group in found[0].cost_us}


def run(stage: Stage, options: Options) -> Section:
    """Measure all of them."""
    entrants, left_out = enter(stage, options)
    course = Course(stage, options.rounds)
    rates = interleave({name: partial(course.measure, each) for name, each in entrants.items()}, options.rounds)
    section = Section("throughput", "Refresh throughput")
    show_contenders(section, rates, course, left_out)
    show_sizes(section, rates, course)
    show_pools(section, rates, course)
    section.figures["rows_per_s"] = {name: list(sample.values) for name, sample in rates.items()}
    section.figures["processor_us"] = {name: course.cost(name) for name in rates}
    section.figures["left_out"] = left_out
    return section


def enter(stage: Stage, options: Options) -> tuple[dict[str, Contender], list[str]]:
    """Give the contenders by name, and for each whose packages cannot be installed a line that says why."""
    seconds = 0.4 if options.is_quick else 2.0
    found, left_out = {}, []

    def add(name: str, running: Running, rate: int, is_ours: bool = False) -> None:
        found[name] = Contender(name, running, min(stage.rows, int(rate * seconds)), is_ours)

    for name, (make, rate) in ALTERNATIVES.items():
        if options.is_quick and name in ONLY_FULL:
            continue
        try:
            add(name, make(), rate)
        except NoEnvironmentError as error:
            progress.say(str(error))
            left_out.append(str(error))
    for size in [default_size()] if options.is_quick else sorted({*SIZES, default_size()}):
        add(of_size(size), ours(2, ROWCACHE_BATCH_SIZE=str(size)), RATES.get(size, 40_000), is_ours=True)
    for pool, processes in () if options.is_quick else POOLS:
        if of_pool(pool, processes) not in found:
            running = ours(processes, pool, ROWCACHE_BATCH_SIZE=str(POOL_SIZE))
            add(of_pool(pool, processes), running, RATES[POOL_SIZE], is_ours=True)
    return found, left_out


def default_size() -> int:
    """Give the size of a batch that the package has by default."""
    found = next(each.default for each in fields(Settings) if each.name == "batch_size")
    assert isinstance(found, int)
    return found


def of_size(size: int) -> str:
    """Name ours with batches of a size, two processes."""
    return OURS if size == default_size() else f"{OURS}, batches of {size}"


def of_pool(pool: str, processes: int) -> str:
    """Name ours with a pool, batches of POOL_SIZE."""
    return of_size(POOL_SIZE) if (pool, processes) == ("prefork", 2) else f"{OURS}, {processes} {pool}"


def show_contenders(section: Section, rates: dict[str, Sample], course: Course, left_out: list[str]) -> None:
    """Write the table of all contenders, the slowest last, and draw them."""
    names = sorted([*(n for n in rates if n in ALTERNATIVES), OURS], key=lambda n: -rates[n].median)
    rows = []
    for name in names:
        cost = course.cost(name)
        servers = ", ".join(f"{cost[group]:,.1f}" for group in SERVERS)
        ahead = "" if name == OURS else times(rates[OURS].over(rates[name]))
        loop = "" if name == BARE else times(rates[name].over(rates[BARE]))
        shown = f"**{name}**" if name == OURS else name
        rows.append([shown, ahead, loop, rates[name].shown(), f"{sum(cost.values()):,.0f}", servers])
    note = "".join(f" {each}." for each in left_out)
    columns = [
        "contender",
        f"{OURS} is faster by",
        "of one bare loop",
        "rows/s",
        "processor, µs a row",
        "of it Valkey, PostgreSQL",
    ]
    caption = f"Median and range of {course.rounds} rounds. Ours and the task queues have two worker processes.{note}"
    section.tables.append(Table(columns, rows, caption))
    bars = [bar(name, rates[name], name == OURS) for name in names]
    section.bars.append(Bars("throughput", "Rows refreshed a second", "rows/s", bars, is_logarithmic=True))
    section.figures["faster_by"] = {n: rates[OURS].over(rates[n]).median for n in names if n != OURS}
    others = [rates[OURS].over(rates[n]).median for n in names if n != OURS and not n.startswith(BARE)]
    section.figures["faster_than_all_others_by"] = min(others)


def show_sizes(section: Section, rates: dict[str, Sample], course: Course) -> None:
    """Write what the size of a batch does."""
    found = [(size, of_size(size)) for size in sorted({*SIZES, default_size()}) if of_size(size) in rates]
    rows = [
        [f"{size:,}", times(rates[name].over(rates[BARE])), rates[name].shown(), *shares(course.cost(name))]
        for size, name in found
    ]
    columns = ["rows in a batch", "of one bare loop", "rows/s", "processor, µs a row", *GROUPS]
    section.tables.append(Table(columns, rows, f"Batches; the default is {default_size()}. Two processes, prefork."))
    if len(found) > 1:
        x = [float(size) for size, _ in found]
        line = Line(OURS, x, [rates[name].median for _, name in found], is_ours=True)
        bare = Line(BARE, x, [rates[BARE].median for _ in found])
        title = "Rows refreshed a second by the size of a batch"
        chart = Lines("throughput-batches", title, "rows in a batch", "rows/s", [line, bare], True, True)
        section.lines.append(chart)


def show_pools(section: Section, rates: dict[str, Sample], course: Course) -> None:
    """Write what the number and kind of workers do."""
    found = [(pool, n, of_pool(pool, n)) for pool, n in POOLS if of_pool(pool, n) in rates]
    if not found or len(found) < len(POOLS):
        return
    rows = [
        [
            f"{n} × {pool}",
            times(rates[name].over(rates[BARE])),
            rates[name].shown(),
            *shares(course.cost(name)),
        ]
        for pool, n, name in found
    ]
    columns = ["workers", "of one bare loop", "rows/s", "processor, µs a row", *GROUPS]
    section.tables.append(Table(columns, rows, f"Processes and threads of one worker; batches of {POOL_SIZE}."))
    bars = [bar(f"{n} × {pool}", rates[name], is_ours=True) for pool, n, name in found]
    section.bars.append(Bars("throughput-workers", "Rows refreshed a second by workers", "rows/s", bars))


GROUPS = {"Valkey": "valkey", "PostgreSQL": "postgres", "dispatcher": "dispatcher", "worker": "worker"}


def shares(cost: dict[str, float]) -> list[str]:
    """Write the processor time of ours: the sum and the part of each group."""
    return [f"{sum(cost.values()):,.1f}", *(f"{cost[group]:,.1f}" for group in GROUPS.values())]


def times(ratio: Sample) -> str:
    """Write a ratio with the digits that it deserves."""
    digits = ",.0f" if ratio.median >= 20 else ".1f" if ratio.median >= 3 else ".2f" if ratio.median >= 0.1 else ".3f"
    return f"{ratio.median:{digits}}× ({ratio.low:{digits}}–{ratio.high:{digits}})"


def bar(label: str, sample: Sample, is_ours: bool) -> Bar:
    """Make a bar of a sample."""
    return Bar(label, sample.median, sample.low, sample.high, is_ours)
