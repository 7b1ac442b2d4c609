"""Command errors: list failing rows, and retry them."""

import heapq
from typing import Any

import click

from rowcache_tasks.config.settings import Table
from rowcache_tasks.ops.cli.access import Access, open_access
from rowcache_tasks.ops.snapshot import Failure, read_failures
from rowcache_tasks.schedule.row_id import decode_row_id
from rowcache_tasks.text import one_line, show_count, show_duration, show_text

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
                row_ids = (
                    decode_row_id(row_id) for row_id, _ in access.client.hscan_iter(one.keys.failures, count=1000)
                )
                touched = access.schedule(one.name).touch_rows(row_ids)
                click.echo(f"{one.name}: {show_count(touched, 'row')} due now")


def list_failures(access: Access, table: Table, limit: int) -> None:
    """Print the failing rows of a table."""
    count: Any = access.client.hlen(table.keys.failures)
    seconds, _ = access.client.time()
    found = read_failures(access.client, table, READ)
    worst = heapq.nlargest(limit, found, key=lambda failure: (failure.failures, failure.at))
    among = f" among {len(found):,} of them" if count > len(found) else ""
    shown = f", the worst {len(worst)}{among}:" if count > len(worst) else ":" if worst else ""
    click.echo(f"{table.name}: {show_count(count, 'failing row')}{shown}")
    for failure in worst:
        click.echo(describe_failure(failure, int(seconds)))


def describe_failure(failure: Failure, now: int) -> str:
    """Return one printable line, whatever the failure holds."""
    ago = show_duration(max(0.0, now - failure.at))
    times = show_count(failure.failures, "time")
    return f"  {show_text(failure.row_id)}  {times}, last {ago} ago: {one_line(failure.error)}"
