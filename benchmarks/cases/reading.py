"""Cost of a read beside the bare client, database and django-redis.

The readers take turns of some milliseconds in one process; the servers have another core. Each reader has the bare
client right beside it, before it in one round and after it in the next, and a ratio is that of two neighbours. Some
seconds of rounds are one repetition, whose value is their median. Decoding is part of a read.
"""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from statistics import median
from typing import Any

from benchmarks.options import Options
from benchmarks.placement import apart
from benchmarks.progress import say
from benchmarks.readers import ROW_IDS, Race, Read, open_races
from benchmarks.round import server_pids
from benchmarks.sample import Sample
from benchmarks.section import Chart, Section, Series, Table
from benchmarks.servers import Servers

TURN_S = 0.012
"""Time of one turn of a reader."""

TRIED = 50
"""Calls to find out how many take TURN_S."""

MOST_CALLS = 20_000


@dataclass
class Meter:
    """A reader, and its costs in each repetition: microseconds a call, and the ratio to the bare client."""

    read: Read
    arguments: Sequence[Any]
    us: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)

    def turn(self) -> float:
        """Make the calls; return microseconds a call."""
        read, started = self.read, time.perf_counter()
        for argument in self.arguments:
            read(argument)
        return 1e6 * (time.perf_counter() - started) / len(self.arguments)


def run(servers: Servers, options: Options) -> Section:
    """Measure all races."""
    repetitions, race_s = (2, 1.0) if options.is_quick else (5, 15.0)
    section = Section("reading", "Reading")
    pids = [pid for group in server_pids(servers).values() for pid in group]
    with apart(pids), open_races(servers) as races:
        gc.collect()
        gc.freeze()  # the collector leaves out what was made so far
        for race in races:
            say(f"reading: {race.caption}")
            meters = {label: make_meter(read, race.rows) for label, read in race.readers.items()}
            for _ in range(repetitions):
                repeat(list(meters.values()), race_s / repetitions)
            section.tables.append(table(race, meters))
            section.figures[race.name] = {
                label: {"us": meter.us, "ratio": median(meter.ratio)} for label, meter in meters.items()
            }
            if race.name == "one":
                section.charts.append(chart(race, meters))
        gc.unfreeze()
    return section


def make_meter(read: Read, rows: int) -> Meter:
    """Make a meter whose turn takes about TURN_S."""
    arguments = ROW_IDS if rows == 1 else [ROW_IDS[n : n + rows] for n in range(0, len(ROW_IDS), rows)]
    us = min(Meter(read, list(islice(cycle(arguments), TRIED))).turn() for _ in range(3))
    calls = max(5, min(MOST_CALLS, int(1e6 * TURN_S / us)))
    return Meter(read, list(islice(cycle(arguments), calls)))


def repeat(meters: Sequence[Meter], seconds: float) -> None:
    """Let the meters take turns, each beside the first, and add the medians to their costs."""
    bare, *others = meters
    turns: list[list[tuple[float, float]]] = [[] for _ in others]
    until = time.monotonic() + seconds
    while time.monotonic() < until or not turns[-1]:
        for meter, pairs in zip(others, turns, strict=True):
            if len(pairs) % 2:
                theirs, mine = bare.turn(), meter.turn()
            else:
                mine, theirs = meter.turn(), bare.turn()
            pairs.append((mine, theirs))
    for meter, pairs in zip(others, turns, strict=True):
        meter.us.append(median(mine for mine, _ in pairs))
        meter.ratio.append(median(mine / theirs for mine, theirs in pairs))
    bare.us.append(median(theirs for pairs in turns for _, theirs in pairs))
    bare.ratio.append(1.0)


def table(race: Race, meters: dict[str, Meter]) -> Table:
    """Compare the readers of a race."""
    rows = []
    for label, meter in meters.items():
        us, ratio = Sample(meter.us), Sample(meter.ratio)
        shown = "1" if set(meter.ratio) == {1.0} else ratio.shown(".2f" if ratio.median > 0.1 else ".3f")
        name = f"**{label}**" if label == race.ours else label
        rows.append([name, shown, us.shown(".1f"), f"{1e6 * race.rows / us.median:,.0f}"])
    columns = ["reader", "time beside the bare client", "µs a call", "rows/s, one process"]
    return Table(columns, rows, f"{race.caption}, one call after the other.")


def chart(race: Race, meters: dict[str, Meter]) -> Chart:
    """Draw the readers of a race."""
    bars = [
        Series(label, [median(meter.us)], [], min(meter.us), max(meter.us), label == race.ours)
        for label, meter in meters.items()
    ]
    return Chart("reading", f"{race.caption}, one call after the other", "bars", "µs", bars)
