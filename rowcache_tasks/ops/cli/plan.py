"""Command plan: load and limits, as a table or as JSON."""

import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click
import msgspec

from rowcache_tasks.config.settings import MAX_BATCH_SIZE, load_settings
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import align, shorten, show_duration, show_text
from rowcache_tasks.ops.cli.access import FailedError, MistypedError, open_access
from rowcache_tasks.ops.cli.command import command, json_option
from rowcache_tasks.ops.overview import read_overview
from rowcache_tasks.ops.plan import GET_US, LARGEST, MACHINE, MEASURED, SMALLEST, Group, Plan
from rowcache_tasks.ops.sample import sample_workload

HEADER = ("PART", "COUNT", "BUSY", "CORES", "SATURATES AT")
WIDTHS = (22, 9, 8, 9, 16)
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))
LIMITS = {
    "Redis": "it runs commands on one core",
    "database": "give it more cores, or raise intervals",
    MACHINE: "it has no more cores",
}
"""Parts that more processes do not help."""
GROUP = re.compile(r"([0-9.]+)([kM]?)@([0-9.]+)")
MULTIPLES = {"": 1, "k": 1_000, "M": 1_000_000}
WHOLE = click.IntRange(min=1)
MAX_CONNECTIONS = 100  # default of PostgreSQL
SMALL_SHARE = 0.25  # share of a full batch; below it, most of the cost is the batch and not its rows


def number(*names: str, low: float, high: float = 1e12, **options: Any) -> Callable[[Any], Any]:
    """Return an option for a number of a range; one outside of it ends the command with status 2."""

    def check(_: click.Context, option: click.Parameter, value: float | None) -> float | None:
        if value is not None and not low <= value <= high:
            raise MistypedError(f"{option.opts[0]} is {shorten(value)}: it must be from {low:g} to {high:g}")
        return value

    return click.option(*names, callback=check, metavar="N", **{"type": float} | options)


@command("plan 1000000@60 10k@1", "plan --from-redis 500k@10")
@click.argument("rows", nargs=-1, metavar="[ROWS@SECONDS]...")
@click.option("--from-redis", is_flag=True, help="Read rows, intervals, sizes and shares from the live deployment.")
@click.option("--table", "names", multiple=True, help="With --from-redis: only this table; may be repeated.")
@number("--bytes", "row_bytes", low=1e-9, help="JSON of a row on average.  [default: 300]")
@number(
    "--changed", "changed_share", low=0, high=100, help="Percent of refreshes that find a new value.  [default: 100]"
)
@number("--gets", "gets_per_s", low=0, default=0, help="GETs a second that reach Redis.  [default: 0]")
@number("--tables", low=1, high=1e9, type=WHOLE, help="Entries of rowcache_tables.  [default: 1]")
@number("--together", low=1, help="Rows due at the same moment, on average.  [default: 1]")
@number("--dispatchers", low=1, high=1e9, type=WHOLE, help="Number of dispatchers.  [default: as many as are needed]")
@number("--processes", low=1, high=1e9, type=WHOLE, help="Processes of all workers.  [default: as many as are needed]")
@number("--concurrency", low=1, high=1e9, type=WHOLE, default=4, show_default=True, help="Processes of one worker.")
@number("--batch-size", low=1, high=MAX_BATCH_SIZE, type=int, help="[default: that of the settings]")
@number("--utilisation", low=1, high=100, default=60, show_default=True, help="Percent a part may be busy.")
@number("--latency", "round_trip_s", low=0, default=0.3, show_default=True, help="Round trip between machines; ms.")
@number("--database-cores", low=1e-9, default=4, show_default=True, help="Cores of the database for this.")
@number("--cores", low=1, help="Cores of one machine that runs everything.")
@number("--readers", low=0, high=1e9, type=int, default=0, help="Threads that read at the same time.")
@number("--senders", low=0, high=1e9, type=int, default=0, help="Threads that send tasks at the same time.")
@number("--fillers", low=0, high=1e9, type=int, default=0, help="Processes that fill uncached rows.")
@number("--speed", low=1e-9, default=1, show_default=True, help="Of a core, beside the measured one.")
@json_option
def plan(rows: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Compute the load and the limit of each part.

    ROWS are refreshed every SECONDS: 1000000@60 10k@1 is a million rows every 60 s and ten thousand every second. Needs
    neither Redis nor database.
    """
    made = read_plan(rows, options)
    shown = made.figures | {"advice": advise(made), "measured": {}}
    if options["from_redis"]:
        with open_access() as access:
            shown["measured"] = read_overview(access.client, access.settings, with_clients=False).loads
    click.echo(msgspec.json.encode(shown) if as_json else "\n".join(lay_out(made, shown)))


def read_plan(rows: tuple[str, ...], options: dict[str, Any]) -> Plan:
    """Combine the options with the live deployment, and with the settings where there are any; an option comes first.

    Rows that are given are added to those of the live deployment.
    """
    if not rows and not options["from_redis"]:
        raise click.UsageError("give ROWS@SECONDS, like 1000000@60, or --from-redis")
    if options["names"] and not options["from_redis"]:
        raise click.UsageError("--table is for --from-redis")
    groups, found = tuple(map(parse_group, rows)), dict[str, Any]()
    try:
        settings = load_settings()
        found = {"batch_size": settings.batch_size, "poll_interval_s": settings.poll_interval_s}
    except ConfigError as error:
        if not isinstance(error.__cause__, ModuleNotFoundError):
            raise FailedError(str(error)) from error
    if options["from_redis"]:
        with open_access() as access:
            names = options["names"] or tuple(access.settings.tables)
            tables = [access.settings.table(name) for name in dict.fromkeys(names)]
            found |= sample_workload(access.client, [part for table in tables for part in table.parts])
            found["tables"] = len(access.settings.tables)
    found["groups"] = found.get("groups", ()) + groups
    given = {name: value for name, value in options.items() if value is not None}
    given |= {name: given[name] / 100 for name in ("changed_share", "utilisation") if name in given}
    given |= {"round_trip_s": given["round_trip_s"] / 1000}
    return Plan(**found | {name: given[name] for name in Plan.__dataclass_fields__ if name in given})


def parse_group(text: str) -> Group:
    """Read ROWS@SECONDS: 1000000@60, 10k@1.5, 1M@60. Raises MistypedError."""
    rows = every_s = 0.0
    if match := GROUP.fullmatch(text):
        with suppress(ValueError):
            rows, every_s = float(match[1]) * MULTIPLES[match[2]], float(match[3])
    if not (SMALLEST <= rows <= LARGEST and SMALLEST <= every_s <= LARGEST):
        raise MistypedError(
            f"rows are {shorten(text)}: give ROWS@SECONDS, both from {SMALLEST:g} to {LARGEST:g}, "
            "like 1000000@60, 1M@60 or 500@0.5"
        )
    return Group(rows, every_s)


def advise(made: Plan) -> list[str]:
    """Return conclusions from the figures, the most important first."""
    parts, shown = made.parts, made.figures
    first = shown["first_to_saturate"]
    limit = parts[first].saturates_at
    lines = [f"first to saturate: {first}, at {show_times(limit)} this load"]
    if limit < 1:
        lines = [f"too much: {first} can do {limit:.3g} of this load; rows get later and later"]
    wall = min((name for name in parts if name in LIMITS), key=lambda name: parts[name].saturates_at)
    if wall == first:
        lines.append(f"more processes do not help: {wall} is the limit, {LIMITS[wall]}")
    else:
        lines.append(f"with more processes: {wall} is the limit, at {show_times(parts[wall].saturates_at)} this load")
    lines += [
        f"{name}: {100 * part.busy:.0f} % busy, more than the {100 * made.utilisation:.0f} % asked for"
        for name, part in parts.items()
        if part.busy > made.utilisation
    ]
    if shown["database_connections"] >= MAX_CONNECTIONS:
        lines.append(f"database: {shown['database_connections']} connections; the default max_connections is 100")
    rows, size = made.batches.rows, made.batch_size
    if rows < SMALL_SHARE * size and max(part.busy for part in parts.values()) > SMALL_SHARE:
        lines.append(f"batches hold {rows:.1f} of {size} rows: twice the load costs less than twice as much")
    if made.core_s(made.gets_per_s * GET_US) > parts["Redis"].cores / 2:
        lines.append("most of the time of Redis goes to GETs: use a near cache")
    if shown["catch_up_s"] > 2 * max(group.every_s for group in made.groups):
        lines.append(f"after an outage every row is fresh only {show_duration(shown['catch_up_s'])} later")
    return lines


def lay_out(made: Plan, shown: dict[str, Any]) -> list[str]:
    """Return the parts as a table, the other figures as lines, and the advice."""
    rows = [
        (name, f"{part.count:g}", f"{100 * part.busy:.0f} %", f"{part.cores:.2f}", show_times(part.saturates_at))
        for name, part in made.parts.items()
    ]
    late_s = shown["late_s"]
    late = (
        "rows get later and later"
        if math.isinf(late_s)
        else f"{show_duration(late_s)} on average from due to committed"
    )
    per_s, size, changed = made.batches.per_s, made.batch_size, 100 * made.changed_share
    receives, sends = (show_bytes(shown[f"redis_{way}_bytes_per_s"]) for way in ("receives", "sends"))
    figures = {
        "rows": f"{made.rows:,.0f}, JSON {show_bytes(made.rows * made.row_bytes)}",
        "refreshes": f"{made.refreshes_per_s:,.1f} a second, {changed:.0f} % of them find a new value",
        "batches": f"{per_s:,.1f} a second, {made.batches.rows:,.1f} of {size} rows each",
        "workers": f"{shown['workers']}, with --concurrency={made.concurrency}",
        "processors": f"{shown['cores']:.2f} cores in all, servers included",
        "lateness": late,
        "database": f"{per_s:,.1f} SELECTs a second, {shown['database_connections']:,} connections",
        "Redis": f"{show_bytes(shown['redis_bytes'])} of memory, {shown['redis_connections']:,} connections at most",
        "network of Redis": f"receives {receives}/s, sends {sends}/s",
        "warm-up": f"{show_duration(shown['warm_up_s'])}, "
        f"{show_duration(shown['scheduling_s'])} of it for schedule-table",
        "after an outage": f"every row is fresh {show_duration(shown['catch_up_s'])} later, if all are due",
        "constants": MEASURED,
    }
    for name, load in shown["measured"].items():
        limit = "an unknown number" if load.capacity is None else f"{load.capacity:,.0f}"
        figures[f"measured {show_text(name)}"] = f"{load.demand:,.1f} of {limit} of refreshes a second"
    lines = [align(cells, WIDTHS) for cells in [HEADER, *rows]]
    return [*lines, "", *(f"{name:<16}  {value}" for name, value in figures.items()), "", *shown["advice"]]


def show_times(factor: float) -> str:
    """Write a multiple of this load, 3.5 times; beyond a thousand, the load is next to nothing."""
    return f"{factor:.1f} times" if factor < 1000 else "1,000+ times"


def show_bytes(count: float) -> str:
    """Write a number of bytes: 512 B, 4.1 kB, 620 MB."""
    size, unit = next(((size, unit) for size, unit in UNITS if count >= size), UNITS[-1])
    return f"{count / size:.3g} {unit}" if count < 999.5 * size else f"{count / size:,.0f} {unit}"
