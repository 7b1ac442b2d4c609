"""Command rows: rows of a table by age, by due time, failing, or by prefix."""

import json
from itertools import islice
from typing import Any

import click

from rowcache_tasks.errors.text import one_line, show_text
from rowcache_tasks.ops.cli.access import open_access
from rowcache_tasks.ops.cli.command import command, limit_option, say, table_argument
from rowcache_tasks.ops.row_description import describe_row
from rowcache_tasks.ops.row_walk import walk_rows
from rowcache_tasks.schedule.row_state import RowState, finite

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
@limit_option(0, 20, "Rows to list; 0: all.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def rows(table: str, order: str | None, prefix: str, limit: int, as_json: bool) -> None:
    """List rows of TABLE; in no order unless one is given. Memory does not depend on the size of the table."""
    with open_access() as access:
        chosen = access.settings.table(table)
        for row in islice(walk_rows(access.client, chosen, order or "any", prefix), limit or None):
            if as_json:
                click.echo(json.dumps(row_as_json(row)))
            else:
                say(f"{show_text(row.row_id)}  {one_line(describe_row(row, chosen))}")


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
