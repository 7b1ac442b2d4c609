"""Own the command plan: what a deployment needs for so many rows, and what saturates first."""

import json
from pathlib import Path
from typing import Any

import click

from rowcache_tasks.config.settings import load_settings
from rowcache_tasks.errors import ArgumentError, ConfigError, RowCacheError
from rowcache_tasks.ops.capacity import (
    Constants,
    Fleet,
    Group,
    Workload,
    advise,
    load_constants,
    make_plan,
    parse_constants,
    parse_group,
)
from rowcache_tasks.ops.capacity.workload import check_number
from rowcache_tasks.ops.cli.plan_text import as_json, lay_out_plan
from rowcache_tasks.ops.cli.sampling import Sample, sample_tables
from rowcache_tasks.ops.cli.session import FailedError, open_session
from rowcache_tasks.text import shorten

__all__ = ["plan"]

NUMBER = click.FLOAT
COUNT = click.IntRange(min=1)


@click.command()
@click.argument("rows", nargs=-1, metavar="[ROWS@SECONDS]...")
@click.option("--from-redis", is_flag=True, help="Read rows, intervals, sizes and shares from the live deployment.")
@click.option("--table", "names", multiple=True, help="With --from-redis: only this table; may be given again.")
@click.option("--bytes", "row_bytes", type=NUMBER, help="JSON of a row on average.  [default: 300]")
@click.option("--changed", type=NUMBER, help="Percent of refreshes that find the row changed.  [default: 100]")
@click.option("--gets", type=NUMBER, default=0.0, help="GETs a second of all readers that reach Redis.  [default: 0]")
@click.option("--tables", type=COUNT, help="Entries of rowcache_tables.  [default: 1]")
@click.option("--together", type=NUMBER, help="Rows due at the same moment, on average.  [default: 1]")
@click.option("--dispatchers", type=COUNT, help="How many there are.  [default: as many as are needed]")
@click.option("--processes", type=COUNT, help="Worker processes in all.  [default: as many as are needed]")
@click.option("--concurrency", type=COUNT, default=4, show_default=True, help="Processes of one worker.")
@click.option("--batch-size", type=COUNT, help="[default: that of the settings]")
@click.option("--utilisation", type=NUMBER, default=60.0, show_default=True, help="Percent that parts may be busy.")
@click.option("--latency", type=NUMBER, default=0.3, show_default=True, help="Round trip between machines; ms.")
@click.option("--database-cores", type=NUMBER, default=4.0, show_default=True, help="Cores of the database for this.")
@click.option("--cores", type=NUMBER, help="Cores of one machine that runs everything.  [default: nobody waits]")
@click.option("--readers", type=click.IntRange(min=0), default=0, help="Threads that read at the same time.")
@click.option("--senders", type=click.IntRange(min=0), default=0, help="Threads that send tasks at the same time.")
@click.option("--fillers", type=click.IntRange(min=0), default=0, help="Processes that fill what they miss.")
@click.option("--speed", type=NUMBER, default=1.0, show_default=True, help="Of a core, beside the measured one.")
@click.option("--constants", metavar="FILE", help="results.json of your own run of the benchmark.")
@click.option("--json", "is_json", is_flag=True, help="One JSON object.")
def plan(rows: tuple[str, ...], **options: Any) -> None:
    """Say what a deployment needs for ROWS refreshed every SECONDS, and what saturates first.

    1000000@60 10k@1 is a million rows every 60 s, and ten thousand every second. Works without Redis and database.
    """
    try:
        groups = tuple(map(parse_group, rows))
        constants = read_constants(options["constants"])
        if options["from_redis"]:
            workload = sample_workload(groups, options)
        elif not groups:
            raise click.UsageError("give ROWS@SECONDS, like 1000000@60, or --from-redis")
        elif options["names"]:
            raise click.UsageError("--table is for --from-redis")
        else:
            workload = make_workload(groups, None, options, tables=1)
        made = make_plan(workload, make_fleet(options), constants)
    except RowCacheError as error:
        raise FailedError(str(error)) from error
    lines = [json.dumps(as_json(made))] if options["is_json"] else [*lay_out_plan(made), "", *advise(made)]
    click.echo("\n".join(lines))


def sample_workload(groups: tuple[Group, ...], options: dict[str, Any]) -> Workload:
    """Read what a deployment does; rows that are given come on top."""
    with open_session() as session:
        names = options["names"] or tuple(session.settings.tables)
        sample = sample_tables(session.client, [session.settings.table(name) for name in dict.fromkeys(names)])
        tables = len(session.settings.tables)
    return make_workload((*sample.groups, *groups), sample, options, tables=tables)


def make_workload(
    groups: tuple[Group, ...], sample: Sample | None, options: dict[str, Any], *, tables: int
) -> Workload:
    """Put together what was given, what was found, and what is supposed otherwise."""
    changed = None if options["changed"] is None else percent("--changed", options["changed"])
    found = (sample.row_bytes, sample.changed_share, sample.together) if sample else (None, None, None)
    return Workload(
        groups,
        row_bytes=first(options["row_bytes"], found[0], 300.0),
        changed_share=first(changed, found[1], 1.0),
        gets_per_s=options["gets"],
        tables=first(options["tables"], tables),
        together=first(options["together"], found[2], 1.0),
    )


def make_fleet(options: dict[str, Any]) -> Fleet:
    """Put together the processes and settings."""
    own = settings_of_deployment()
    check_number("--latency", options["latency"], low=0)
    return Fleet(
        dispatchers=options["dispatchers"],
        processes=options["processes"],
        processes_per_worker=options["concurrency"],
        **own if options["batch_size"] is None else own | {"batch_size": options["batch_size"]},
        utilisation=percent("--utilisation", options["utilisation"], low=1),
        round_trip_s=options["latency"] / 1000,
        database_cores=options["database_cores"],
        speed=options["speed"],
        cores=options["cores"],
        readers=options["readers"],
        senders=options["senders"],
        fillers=options["fillers"],
    )


def settings_of_deployment() -> dict[str, Any]:
    """Give the settings that matter here; where there is no configuration yet, the defaults."""
    try:
        settings = load_settings()
    except ConfigError as error:
        if isinstance(error.__cause__, ModuleNotFoundError):
            return {}
        raise
    return {"batch_size": settings.batch_size, "poll_interval_s": settings.poll_interval_s}


def read_constants(path: str | None) -> Constants:
    """Read constants from a file, or give those of the package. Raises ArgumentError."""
    if path is None:
        return load_constants()
    try:
        return parse_constants(json.loads(Path(path).read_text("utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"--constants {shorten(path)} cannot be read: {shorten(str(error))}") from error


def percent(option: str, value: float, low: float = 0) -> float:
    """Give a share of 1; an error names the option and its own unit."""
    check_number(option, value, low=low, high=100)
    return value / 100


def first(*values: Any) -> Any:
    """Give the first that is not None."""
    return next(value for value in values if value is not None)
