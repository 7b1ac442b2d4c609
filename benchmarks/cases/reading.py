"""What a read costs: RowCache beside the bare client, the database and other caches, of the same 1,000 rows.

Each program of programs/reading reads when it is told to, for some milliseconds, and measures that itself; all take
turns, so whatever else the machine does hits all of them, and ratios are taken round by round. Half a minute of such
rounds is one repetition, whose value is their median; shown are the median of the repetitions and their range.

Everybody reads over the same Unix socket, with redis-py and hiredis of the same versions; contenders have written
copies of the same rows under their own keys and in their own form. Their configuration is told in their programs. Where
a serializer can be chosen it is msgspec's, as with us, so that no difference is one of JSON.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks import environment
from benchmarks.options import Options
from benchmarks.programs.reading.order import ROWS, Order
from benchmarks.programs.reading.program import Program
from benchmarks.sample import Sample, interleave
from benchmarks.section import Bar, Bars, Section, Table
from benchmarks.stage import Stage
from rowcache_tasks import ReadThrough, RowCache

PACKAGES = ["dogpile.cache==1.5.0", "cashews==7.6.0", "aiocache==0.12.3", "django-redis==7.0.0", "Django==5.2.19"]

PROGRAMS = {
    "plain": ("plain", []),
    "near": ("near", []),
    "awaited": ("awaited", []),
    "awaited near": ("awaited", ["near"]),
    "database": ("database", []),
}
CONTENDERS = {
    "dogpile": ("dogpile_region", []),
    "django": ("django_cache", []),
    "cashews": ("cashews_cache", []),
    "cashews near": ("cashews_cache", ["near"]),
    "aiocache": ("aiocache_cache", []),
}


@dataclass(frozen=True)
class Reader:
    """A line of a table: one way of one program. The first of a table is what the others are compared with."""

    label: str
    program: str
    way: str
    is_ours: bool = False


@dataclass(frozen=True)
class Race:
    """What takes turns, and becomes a table."""

    name: str
    caption: str
    readers: list[Reader]
    rows: int = 1
    at_once: int = 1


BARE = Reader("redis-py: GET, msgspec", "plain", "bare")
ONE = [
    BARE,
    Reader("RowCache.get", "plain", "ours", is_ours=True),
    Reader("RowCache.get, fill=True", "plain", "fill", is_ours=True),
    Reader("dogpile.cache: get", "dogpile", "get"),
    Reader("dogpile.cache: get_or_create", "dogpile", "create"),
    Reader("django-redis: get", "django", "get"),
    Reader("django-redis: get_or_set", "django", "set"),
    Reader("PostgreSQL: psycopg, prepared", "database", "psycopg"),
    Reader("PostgreSQL: SQLAlchemy Core", "database", "core"),
    Reader("PostgreSQL: SQLAlchemy Session.get", "database", "orm"),
    Reader("RowCache(near=…).get", "near", "ours", is_ours=True),
    Reader("redis-py: client-side caching, msgspec", "near", "client"),
]
MANY = [
    Reader("redis-py: MGET, msgspec", "plain", "bare"),
    Reader("RowCache.get_many", "plain", "ours", is_ours=True),
    Reader("RowCache.get_many, fill=True", "plain", "fill", is_ours=True),
    Reader("dogpile.cache: get_multi", "dogpile", "get"),
    Reader("django-redis: get_many", "django", "get"),
    Reader("PostgreSQL: psycopg, prepared", "database", "psycopg"),
    Reader("PostgreSQL: SQLAlchemy Core", "database", "core"),
    Reader("RowCache(near=…).get_many", "near", "ours", is_ours=True),
]
AWAITED = [
    Reader("redis.asyncio: GET, msgspec", "awaited", "bare"),
    Reader("AsyncRowCache.get", "awaited", "ours", is_ours=True),
    Reader("aiocache: get", "aiocache", "get"),
    Reader("aiocache: @cached", "aiocache", "cached"),
    Reader("cashews: get", "cashews", "get"),
    Reader("cashews: get_or_set", "cashews", "set"),
    Reader("AsyncRowCache(near=…).get", "awaited near", "ours", is_ours=True),
    Reader("cashews: client_side=True, get", "cashews near", "get"),
]
THREADS = [
    BARE,
    Reader("RowCache.get", "plain", "ours", is_ours=True),
    Reader("dogpile.cache: get", "dogpile", "get"),
    Reader("django-redis: get", "django", "get"),
    Reader("RowCache(near=…).get", "near", "ours", is_ours=True),
]
RACES = [
    Race("one", "One row, one read after the other", ONE),
    Race("10", "10 rows a call, one call after the other", MANY, rows=10),
    Race("100", "100 rows a call, one call after the other", MANY, rows=100),
    Race("awaited", "asyncio, one row, one read after the other", AWAITED),
    Race(
        "awaited50",
        "asyncio, one row, 50 tasks at once; time is that of the process for each read",
        AWAITED,
        at_once=50,
    ),
    Race("threads", "8 threads, one row; time is that of the process for each read", THREADS, at_once=8),
]


@dataclass(frozen=True)
class Result:
    """What one line of a table gave; microseconds a call."""

    us: Sample
    processor_us: Sample
    ratio: Sample


def run(stage: Stage, options: Options) -> Section:
    """Put 1,000 rows into the cache, start the programs, have them read in turns."""
    repetitions, rounds, order_s = (2, 10, 0.008) if options.is_quick else (5, 24, 0.02)
    section = Section("reading", "Reading")
    stage.clear()
    read_through = ReadThrough(database_url=stage.database_url)
    cache = RowCache("inventory", url=stage.valkey.url, read_through=read_through)
    assert None not in cache.get_many(range(1, ROWS + 1), fill=True, delay=3600).values()
    results: dict[str, dict[Reader, Result]] = {}
    with running(stage, section) as programs:
        for race in RACES:
            readers = [reader for reader in race.readers if reader.program in programs]
            results[race.name] = measure(programs, race, readers, repetitions, rounds, order_s)
            section.tables.append(make_table(race, results[race.name]))
    cache.close()
    section.bars = [
        make_bars("reading", "One row, one read after the other", results["one"]),
        make_bars("reading-asyncio", "asyncio, one row, 50 tasks at once", results["awaited50"]),
    ]
    section.figures |= make_figures(results)
    return section


@contextmanager
def running(stage: Stage, section: Section) -> Iterator[dict[str, Program]]:
    """Start all programs; those of contenders only if their packages can be had."""
    programs = {name: Program(stage, module, sys.executable, *args) for name, (module, args) in PROGRAMS.items()}
    try:
        packages = [*PACKAGES, *environment.same("redis", "hiredis", "msgspec")]
        python = environment.python("reading", packages)
        programs |= {name: Program(stage, module, python, *args) for name, (module, args) in CONTENDERS.items()}
    except environment.NoEnvironmentError as error:
        section.figures["left_out"] = str(error)
    try:
        yield {name: program.await_ready() for name, program in programs.items()}
    finally:
        for program in programs.values():
            program.stop()


def measure(
    programs: dict[str, Program], race: Race, readers: list[Reader], repetitions: int, rounds: int, order_s: float
) -> dict[Reader, Result]:
    """Have the readers take turns; the number of calls of an order is such that it takes about order_s."""
    processor: dict[Reader, list[float]] = {reader: [] for reader in readers}

    def make(reader: Reader) -> Any:
        program = programs[reader.program]

        def read(calls: int) -> float:
            calls -= calls % race.at_once
            answer = program.read(Order(reader.way, calls, race.rows, race.at_once))
            processor[reader].append(1e6 * answer.processor_s / calls)
            return 1e6 * answer.seconds / calls

        first = read(4 * race.at_once)
        calls = max(4 * race.at_once, min(20_000, int(1e6 * order_s / min(first, read(4 * race.at_once)))))
        processor[reader].clear()
        return lambda: read(calls)

    samples = interleave({reader: make(reader) for reader in readers}, repetitions * rounds)
    bare = samples[readers[0]]
    return {
        reader: Result(
            calm(sample, repetitions),
            calm(Sample(processor[reader]), repetitions),
            calm(sample.over(bare), repetitions),
        )
        for reader, sample in samples.items()
    }


def calm(sample: Sample, repetitions: int) -> Sample:
    """Give the median of each repetition: a range of rounds of milliseconds is that of the machine's other work."""
    size = len(sample.values) // repetitions
    return Sample([median(sample.values[start : start + size]) for start in range(0, size * repetitions, size)])


def make_table(race: Race, results: dict[Reader, Result]) -> Table:
    """Write a race."""
    unit = "a read" if race.rows == 1 else "a call"
    first = next(iter(results))
    rows = []
    for reader, result in results.items():
        label = f"**{reader.label}**" if reader.is_ours else reader.label
        rate = race.rows * 1e6 / result.us.median
        ratio = "1" if reader == first else result.ratio.shown(digits(result.ratio.median))
        us = result.us.shown(".1f"), f"{result.processor_us.median:.1f}"
        rows.append([label, ratio, *us, f"{rate:,.0f}"])
    columns = ["reader", f"time, {first.label} is 1", f"µs {unit}", "µs of its processor", "rows/s, one process"]
    return Table(columns, rows, race.caption)


def digits(ratio: float) -> str:
    """Give the form of a ratio with three digits that count."""
    return ".2f" if ratio >= 0.1 else ".4f"


def make_bars(name: str, title: str, results: dict[Reader, Result]) -> Bars:
    """Draw a race."""
    bars = [Bar(r.label, x.us.median, x.us.low, x.us.high, r.is_ours) for r, x in results.items()]
    return Bars(name, title, "µs a read", bars, is_logarithmic=True)


def make_figures(results: dict[str, dict[Reader, Result]]) -> dict[str, Any]:
    """Give the numbers: race -> reader -> µs, µs of processor time, ratio; and the two that are promised."""
    figures: dict[str, Any] = {
        name: {
            reader.label: {
                "us": result.us.median,
                "processor_us": result.processor_us.median,
                "ratio": result.ratio.median,
            }
            for reader, result in race.items()
        }
        for name, race in results.items()
    }
    figures["get_over_bare"] = figures["one"]["RowCache.get"]["ratio"]
    figures["near_times_faster"] = 1 / figures["one"]["RowCache(near=…).get"]["ratio"]
    return figures
