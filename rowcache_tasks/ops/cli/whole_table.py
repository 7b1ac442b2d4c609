"""Commands schedule-table, schedule-query, reconcile and drop-table.

The first three read the database themselves, without a worker. After an interruption the same command does the rest.
"""

from typing import TYPE_CHECKING

import click

from rowcache_tasks.config.query import parse_query
from rowcache_tasks.errors import SourceError
from rowcache_tasks.ops.cli.access import open_access
from rowcache_tasks.ops.cli.progress import show_progress
from rowcache_tasks.ops.cli.schedule import MINUS, read_delay
from rowcache_tasks.schedule.claim import Changed
from rowcache_tasks.text import show_count
from rowcache_tasks.worker.drop import drop_table as drop_rows_of
from rowcache_tasks.worker.reconcile import reconcile_table
from rowcache_tasks.worker.seed import seed_query, seed_table

if TYPE_CHECKING:
    from rowcache_tasks.database.source import Source


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("delay")
def schedule_table(table: str, delay: str) -> None:
    """Cache every row of TABLE, refreshed every DELAY seconds. The first refreshes are spread over that time."""
    with open_access() as access:
        schedule, delay_s, source = access.schedule(table), read_delay(delay), access.source(table)
        source.load()
        with show_progress(f"{table}: scheduling", count_rows(source)) as progress:
            changed = seed_table(schedule, source, delay_s, access.new_stamp(), progress.report)
    click.echo(describe(table, changed))


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("query_and_delay", nargs=-1, required=True, metavar="[QUERY] DELAY")
@click.option("--sql", metavar="SELECT", help="A statement to run instead of a query of the settings.")
def schedule_query(table: str, query_and_delay: tuple[str, ...], sql: str | None) -> None:
    """Cache the rows of a query or of a SELECT statement.

    QUERY is a name in the settings of TABLE. The columns are those of the key, in order, then optionally the delay in
    seconds; DELAY is for rows without one.
    """
    if len(query_and_delay) != (2 if sql is None else 1):
        raise click.UsageError("give TABLE QUERY DELAY, or TABLE DELAY --sql 'SELECT …'")
    *names, delay = query_and_delay
    with open_access() as access:
        schedule = access.schedule(table)
        query = schedule.table.query(names[0]) if sql is None else parse_query("--sql", "--sql", sql)
        delay_s, source = read_delay(delay), access.source(table)
        source.check_query(query)
        with show_progress(f"{table}: scheduling", None) as progress:
            changed = seed_query(schedule, source, query, delay_s, access.new_stamp(), progress.report)
    click.echo(describe(table, changed))


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("delay")
def reconcile(table: str, delay: str) -> None:
    """Schedule the rows of the database, and drop the others.

    New rows are refreshed every DELAY seconds; scheduled rows keep their delay. Rows that were scheduled within the
    last minute are not dropped.
    """
    with open_access() as access:
        schedule, state, delay_s = access.schedule(table), access.table_state(table), read_delay(delay)
        source = access.source(table)
        source.load()
        total, scheduled = count_rows(source), state.count_rows()
        with show_progress(f"{table}: comparing", total and total + max(total, scheduled)) as progress:
            found = reconcile_table(
                schedule, state, source, delay_s, access.new_stamp(), lambda count, *_: progress.report(count)
            )
    click.echo(
        f"{table}: {show_count(found.added, 'row')} added, every {delay_s:g} s; "
        f"{found.dropped:,} dropped; {found.kept:,} kept"
    )


@click.command()
@click.argument("table")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop_table(table: str, yes: bool) -> None:
    """Stop caching TABLE: drop all rows and values. Rows scheduled from now on stay."""
    with open_access() as access:
        schedule, state = access.schedule(table), access.table_state(table)
        scheduled = state.count_rows()
        if not yes:
            click.confirm(f"{table}: drop {show_count(scheduled, 'row')} and their values?", abort=True, err=True)
        with show_progress(f"{table}: dropping", scheduled) as progress:
            found = drop_rows_of(
                schedule, state, access.new_stamp(), lambda dropped, kept: progress.report(dropped + kept)
            )
    left = f", {found.kept:,} left alone: scheduled meanwhile" if found.kept else ""
    click.echo(f"{table}: {show_count(found.dropped, 'row')} not cached any more{left}")


def count_rows(source: "Source") -> int | None:
    """Count the rows of a table; None when that takes longer than a statement may."""
    try:
        return source.count_rows()
    except SourceError:
        return None


def describe(table: str, changed: Changed) -> str:
    """Return the line of the result."""
    left = f", {changed.ignored:,} left alone: changed meanwhile" if changed.ignored else ""
    return f"{table}: {show_count(changed.applied, 'row')} scheduled{left}"
