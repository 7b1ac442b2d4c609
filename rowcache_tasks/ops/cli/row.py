"""Commands get, for a cached row, errors, for the failing ones, and rows, for all in an order."""

import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import click

from rowcache_tasks.celery.application import COMMAND
from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors.text import one_line, show_count, show_duration, show_text
from rowcache_tasks.ops import problem
from rowcache_tasks.ops.cli.access import Access, FailedError, open_access
from rowcache_tasks.ops.cli.command import (
    RowIdCommand,
    TableName,
    command,
    json_option,
    number_option,
    page,
    say,
    show_progress,
    table_argument,
)
from rowcache_tasks.ops.overview import read_overview
from rowcache_tasks.ops.reason import describe_row
from rowcache_tasks.ops.row_walk import walk_rows
from rowcache_tasks.schedule.arguments import parse_row_id
from rowcache_tasks.schedule.row_id import decode_row_id
from rowcache_tasks.schedule.row_state import Failure, RowState, finite, read_failures, read_row_states
from rowcache_tasks.worker.audit import is_json_object


@command("get inv 42 --age", cls=RowIdCommand)
@table_argument
@click.argument("row_id")
@click.option("--age", is_flag=True, help="Print the age of the row and its next refresh on stderr.")
@json_option
def get(table: str, row_id: str, age: bool, as_json: bool) -> None:
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
    if as_json:
        # The text of the value stays as it is: parsing may change numbers.
        value = f'{json.dumps({"table": table} | row_as_json(found))[:-1]}, "value": {value.decode()}}}'.encode()
    click.echo(value)
    if age:
        click.echo(f"row {show_text(row_id)} of {table} is {state}", err=True)


def explain_absence(access: Access, table: Table, is_scheduled: bool) -> list[str]:
    """Return the faults that keep a row from being scheduled, or from being refreshed."""
    found = read_overview(access.client, access.settings, access.broker)
    if not is_scheduled:
        return [each.text for each in problem.schedule_queue_problems(found)]
    now = found.tables[table.name]
    paused = [] if now.paused_s is None else [f"{now.describe()}: {COMMAND} resume {table.name}"]
    servers = (*problem.memory_problems(found), *problem.refusal_problems(found), *problem.broker_problems(found))
    problems = (*servers, *problem.dispatcher_problems(found), *problem.worker_problems(found))
    return [*paused, *(each.text for each in problems)]


READ = 10_000  # failing rows of one table that are read to find the worst


@command("errors inv --limit 5", "errors inv --release")
@click.argument("table", type=TableName(), required=False)
@number_option("--limit", 1, 20, "Rows of each table to list.")
@click.option("--release", is_flag=True, help="Make all failing rows due now, listed or not.")
@json_option
def errors(table: str | None, limit: int, release: bool, as_json: bool) -> None:
    """List rows whose last refresh failed, most failures first. A successful refresh removes a row."""
    listed: dict[str, Any] = {}
    shown: list[str] = []
    with open_access() as access:
        for one in [access.settings.table(table)] if table else access.settings.tables.values():
            count: Any = sum(int(access.client.hlen(part.keys.failures)) for part in one.parts)
            worst, searched = find_worst(access, one, limit)
            shown += failure_lines(one.name, count, searched, worst, access.client.time()[0])
            released = None
            if release:
                with show_progress(f"{one.name}: releasing", count) as report:
                    released = release_failing(access, one, report)
                shown.append(f"{one.name}: {show_count(released, 'row')} due now")
            rows = [
                {"row_id": it.row_id, "failures": it.failures, "failed_at": finite(it.at), "error": one_line(it.error)}
                for it in worst
            ]
            listed[one.name] = {"failing": count, "rows": rows, "released": released}
        found = read_overview(access.client, access.settings, access.broker, with_clients=False)
        unrecorded = [*problem.memory_problems(found), *problem.refusal_problems(found)]  # no record
    if as_json:
        click.echo(json.dumps({"tables": listed}))
    else:
        page(shown)
    for each in unrecorded:
        say(f"{each.level}: {one_line(each.text)}", err=True)


def release_failing(access: Access, table: Table, report: Callable[[int], None] = lambda _: None) -> int:
    """Make all failing rows of a table due now; return how many. `report` gets the number of rows done so far."""

    def walk() -> Iterator[str]:
        scans = (access.client.hscan_iter(part.keys.failures, count=1000) for part in table.parts)
        for done, (row_id, _) in enumerate(chain.from_iterable(scans), 1):
            yield decode_row_id(row_id)
            report(done)

    return access.schedule(table.name).touch_rows(walk())


def find_worst(access: Access, table: Table, limit: int) -> tuple[list[Failure], int]:
    """Return the rows that failed most often, and among how many they were searched."""
    found = read_failures(access.client, table, READ)
    return heapq.nlargest(limit, found, key=lambda failure: (failure.failures, failure.at)), len(found)


def failure_lines(table: str, count: int, searched: int, worst: Sequence[Failure], now: int) -> Iterator[str]:
    """Yield a printable line for each failing row of a table, whatever the failure holds, below one for the table."""
    among = f" among {searched:,} of them" if count > searched else ""
    shown = f", the worst {len(worst)}{among}:" if count > len(worst) else ":" if worst else ""
    yield f"{table}: {show_count(count, 'failing row')}{shown}"
    for failure in worst:
        times, ago = show_count(failure.failures, "time"), show_duration(max(0.0, now - failure.at))
        yield f"  {show_text(failure.row_id)}  {times}, last {ago} ago: {one_line(failure.error)}"


ORDERS = {
    "oldest": "Rows with the oldest values first. Rows that were never refreshed are left out.",
    "latest": "Rows that were refreshed last first.",
    "due": "Rows that are due first, or whose lease ends first.",
    "failing": "Rows whose last refresh failed, in no order.",
}


def order_options(command: Any) -> Any:
    """Add the options for the order, of which the last given counts."""
    for order, text in reversed(ORDERS.items()):
        command = click.option(f"--{order}", "order", flag_value=order, help=text)(command)
    return command


@command("rows inv --oldest --limit 5", "rows inv --failing --json | jq .row_id")
@table_argument
@order_options
@click.option("--prefix", default="", help="Only rows whose id begins so.")
@number_option("--limit", 0, 20, "Rows to list; 0: all.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def rows(table: str, order: str | None, prefix: str, limit: int, as_json: bool) -> None:
    """List rows of TABLE; in no order unless one is given. Memory does not depend on the size of the table."""
    with open_access() as access:
        chosen = access.settings.table(table)
        found = islice(walk_rows(access.client, chosen, order or "any", prefix), limit or None)
        if not as_json:
            page(f"{show_text(row.row_id)}  {one_line(describe_row(row, chosen))}" for row in found)
            return
        for row in found:
            click.echo(json.dumps(row_as_json(row)))


def row_as_json(row: RowState) -> dict[str, Any]:
    """Return the figures of a row; None: not known, or there is none."""
    return {
        "row_id": row.row_id,
        "age": finite(row.age),
        "due_in": finite(row.due_in),
        "delay": finite(row.delay),
        "cached": row.value is not None,
        "failures": row.failure.failures if row.failure else 0,
        "error": one_line(row.failure.error) if row.failure else None,
    }
