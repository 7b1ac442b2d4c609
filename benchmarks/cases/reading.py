"""What a read costs: RowCache beside the bare client, the database and other caches, of the same 1,000 rows.

Each program of programs/reading reads when it is told to, for some milliseconds, and measures that itself. They take
turns, and each has the bare client right beside it, before it in one round and after it in the next: a ratio is that of
two neighbours, so whatever else the machine does hits both. Some seconds of such rounds are one repetition, whose value
is their median; shown are the median of the repetitions and their range.

The servers have one core, and who reads another: see placement.py. Everybody reads over the same Unix socket, with
redis-py and hiredis of the same versions; contenders have written copies of the same rows under their own keys and in
their own form. Their configuration is told in their programs. Where a serializer can be chosen it is msgspec's, as with
us, so that no difference is one of JSON.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks import environment
from benchmarks.options import Options
from benchmarks.placement import apart
from benchmarks.programs.reading.catalogue import CONTENDERS, PACKAGES, PROGRAMS, RACES, Race, Reader
from benchmarks.programs.reading.meter import Meter, Pair
from benchmarks.programs.reading.order import ROWS, TIMEOUT_S
from benchmarks.programs.reading.program import Program
from benchmarks.sample import Sample, interleave
from benchmarks.section import Bar, Bars, Section, Table
from benchmarks.stage import Stage, wait_until
from rowcache_tasks import ReadThrough, RowCache


@dataclass(frozen=True)
class Pace:
    """How long is measured. A race whose rounds take longer, on a busy machine, has fewer of them."""

    repetitions: int
    race_s: float
    order_s: float


@dataclass(frozen=True)
class Result:
    """What one line of a table gave; microseconds a call."""

    us: Sample
    processor_us: Sample
    ratio: Sample
    processor_ratio: Sample


def run(stage: Stage, options: Options) -> Section:
    """Put 1,000 rows into the cache, start the programs, have them read in turns."""
    pace = Pace(2, 2.0, 0.008) if options.is_quick else Pace(5, 27.0, 0.012)
    section = Section("reading", "Reading")
    stage.clear()
    cache_rows(stage)
    results: dict[str, dict[Reader, Result]] = {}
    servers = [pid for pids in stage.server_pids.values() for pid in pids]
    with apart(servers), running(stage, section) as programs:
        for race in RACES:
            readers = [reader for reader in race.readers if reader.program in programs]
            results[race.name] = measure(programs, race, readers, pace)
            section.tables.append(make_table(race, results[race.name]))
    section.bars = [
        make_bars("reading", "One row, one read after the other", results["one"]),
        make_bars("reading-asyncio", "asyncio, one row, 50 tasks at once", results["awaited50"]),
    ]
    section.figures |= make_figures(results)
    return section


def cache_rows(stage: Stage) -> None:
    """Put the rows into the cache that everybody reads; contenders copy them from there."""
    read_through = ReadThrough(database_url=stage.database_url, timeout=TIMEOUT_S)
    cache = RowCache("inventory", url=stage.valkey.url, timeout=TIMEOUT_S, read_through=read_through)
    row_ids = range(1, ROWS + 1)

    def is_done() -> bool:
        """What took too long, as importing SQLAlchemy may on a busy machine, is read and not written."""
        cache.get_many(row_ids, fill=True, delay=3600)
        return None not in stage.client.mget([f"inv:{row_id}" for row_id in row_ids])

    wait_until(is_done, "the rows are cached")
    cache.close()


@contextmanager
def running(stage: Stage, section: Section) -> Iterator[dict[str, Program]]:
    """Start all programs; those of contenders only if their packages can be had."""
    programs = {name: Program(stage, module, *args) for name, (module, args) in PROGRAMS.items()}
    try:
        packages = [*PACKAGES, *environment.same("redis", "hiredis", "msgspec")]
        python = environment.python("reading", packages)
        programs |= {name: Program(stage, module, *args, python=python) for name, (module, args) in CONTENDERS.items()}
    except environment.NoEnvironmentError as error:
        section.figures["left_out"] = str(error)
    try:
        yield {name: program.await_ready() for name, program in programs.items()}
    finally:
        for program in programs.values():
            program.stop()


def measure(programs: dict[str, Program], race: Race, readers: list[Reader], pace: Pace) -> dict[Reader, Result]:
    """Have the readers take turns, each beside the first of them."""
    first = readers[0]
    meters = {reader: Meter(programs[reader.program], race, reader, pace.order_s) for reader in readers}
    pairs = {reader: Pair(meter, meters[first]) for reader, meter in meters.items() if reader != first}
    started = time.perf_counter()
    for pair in pairs.values():
        pair.read()
    rounds = int(pace.race_s / (time.perf_counter() - started) / pace.repetitions)
    for pair in pairs.values():
        pair.clear()
    interleave({reader: pair.read for reader, pair in pairs.items()}, pace.repetitions * max(1, rounds))

    def result(meter: Meter, ratios: list[float], processor_ratios: list[float]) -> Result:
        return Result(*(calm(x, pace.repetitions) for x in (meter.us, meter.processor_us, ratios, processor_ratios)))

    alone = [1.0] * len(meters[first].us)
    return {first: result(meters[first], alone, alone)} | {
        reader: result(pair.meter, pair.ratios, pair.processor_ratios) for reader, pair in pairs.items()
    }


def calm(values: Sequence[float], repetitions: int) -> Sample:
    """Give the median of each repetition: a range of rounds of milliseconds is that of the machine's other work."""
    size = len(values) // repetitions
    return Sample([median(values[start : start + size]) for start in range(0, size * repetitions, size)])


def make_table(race: Race, results: dict[Reader, Result]) -> Table:
    """Write a race."""
    unit = "a read" if race.rows == 1 else "a call"
    first = next(iter(results))
    rows = []
    for reader, result in results.items():
        rate = race.rows * 1e6 / result.us.median
        ratios = [ratio.shown(digits(ratio.median)) for ratio in (result.ratio, result.processor_ratio)]
        times = result.us.shown(".1f"), f"{result.processor_us.median:.1f}"
        label = f"**{reader.label}**" if reader.is_ours else reader.label
        rows.append([label, *(["1", "1"] if reader == first else ratios), *times, f"{rate:,.0f}"])
    columns = ["reader", "time", "its processor time", f"µs {unit}", "µs of its processor", "rows/s, one process"]
    return Table(columns, rows, race.caption)


def digits(ratio: float) -> str:
    """Give the form of a ratio with digits that count."""
    return ".2f" if ratio >= 0.1 else ".3f"


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
                "processor_ratio": result.processor_ratio.median,
            }
            for reader, result in race.items()
        }
        for name, race in results.items()
    }
    figures["get_over_bare"] = figures["one"]["RowCache.get"]["ratio"]
    figures["near_times_faster"] = 1 / figures["one"]["RowCache(near=…).get"]["ratio"]
    return figures
