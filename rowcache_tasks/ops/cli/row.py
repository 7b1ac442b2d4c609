"""Commands get, for a cached row, and errors, for the failing ones."""

import heapq
from typing import Any

import click

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors.text import one_line, show_count, show_duration, show_text
from rowcache_tasks.ops.cli.access import Access, FailedError, open_access
from rowcache_tasks.ops.overview import read_overview
from rowcache_tasks.ops.problem import dispatcher_problems, schedule_queue_problems, worker_problems
from rowcache_tasks.ops.row_description import COMMAND, describe_row
from rowcache_tasks.schedule.arguments import parse_row_id
from rowcache_tasks.schedule.failure import Failure, read_failures
from rowcache_tasks.schedule.row_id import decode_row_id
from rowcache_tasks.schedule.row_state import read_row_states
from rowcache_tasks.worker.audit import is_json_object


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("table")
@click.argument("row_id")
@click.option("--age", is_flag=True, help="Print the age of the row and its next refresh on stderr.")
def get(table: str, row_id: str, age: bool) -> None:
    """Print the JSON of a cached row. Exit status 1, and the reason, when it is not cached."""
    with open_access() as access:
        settings = access.settings.table(table)
        (found,) = read_row_states(access.client, settings, [parse_row_id(row_id)])
        value, state = found.value, describe_row(found, settings)
        if value is None:
            reasons = [state, *explain_absence(access, settings, found.due is not None)]
            raise FailedError(f"row {show_text(row_id)} of {table} is not cached: {'; '.join(reasons)}")
        if not is_json_object(value):
            raise FailedError(
                f"row {show_text(row_id)} of {table} is not a JSON object, so readers find nothing: "
                f"{COMMAND} refresh {table} ROW_ID replaces it"
            )
    click.echo(value)
    if age:
        click.echo(f"row {show_text(row_id)} of {table} is {state}", err=True)


def explain_absence(access: Access, table: Table, is_scheduled: bool) -> list[str]:
    """Return the faults that keep a row from being scheduled, or from being refreshed."""
    found = read_overview(access.client, access.settings, access.broker)
    if not is_scheduled:
        return [problem.text for problem in schedule_queue_problems(found)]
    now = found.tables[table.name]
    paused = [] if now.paused_s is None else [f"{now.describe()}: {COMMAND} resume {table.name}"]
    return [*paused, *(problem.text for problem in (*dispatcher_problems(found), *worker_problems(found)))]


READ = 10_000
"""Failing rows of one table that are read to find the worst."""


@click.command()
@click.argument("table", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Rows of each table to list.")
@click.option("--release", is_flag=True, help="Make all failing rows due now, listed or not.")
def errors(table: str | None, limit: int, release: bool) -> None:
    """List rows whose last refresh failed, most failures first. A successful refresh removes a row."""
    with open_access() as access:
        settings = access.settings
        for one in [settings.table(table)] if table else settings.tables.values():
            list_failures(access, one, limit)
            if release:
                click.echo(f"{one.name}: {show_count(release_failing(access, one), 'row')} due now")


def release_failing(access: Access, table: Table) -> int:
    """Make all failing rows of a table due now; return how many."""
    failing = access.client.hscan_iter(table.keys.failures, count=1000)
    return access.schedule(table.name).touch_rows(decode_row_id(row_id) for row_id, _ in failing)


def find_worst(access: Access, table: Table, limit: int) -> tuple[list[Failure], int]:
    """Return the rows that failed most often, and among how many they were searched."""
    found = read_failures(access.client, table, READ)
    return heapq.nlargest(limit, found, key=lambda failure: (failure.failures, failure.at)), len(found)


def list_failures(access: Access, table: Table, limit: int) -> None:
    """Print the failing rows of a table."""
    count: Any = access.client.hlen(table.keys.failures)
    seconds, _ = access.client.time()
    worst, searched = find_worst(access, table, limit)
    among = f" among {searched:,} of them" if count > searched else ""
    shown = f", the worst {len(worst)}{among}:" if count > len(worst) else ":" if worst else ""
    click.echo(f"{table.name}: {show_count(count, 'failing row')}{shown}")
    for failure in worst:
        click.echo(describe_failure(failure, int(seconds)))


def describe_failure(failure: Failure, now: int) -> str:
    """Return one printable line, whatever the failure holds."""
    ago = show_duration(max(0.0, now - failure.at))
    times = show_count(failure.failures, "time")
    return f"  {show_text(failure.row_id)}  {times}, last {ago} ago: {one_line(failure.error)}"
