"""Own the commands that schedule rows by what the database holds: schedule-table, schedule-query, reconcile.

They read the database themselves, with no worker. What was done when one is interrupted stays; it can be repeated.
"""

import click

from rowcache_tasks.config.query import parse_query
from rowcache_tasks.database.source import Source
from rowcache_tasks.errors import SourceError
from rowcache_tasks.ops.cli.progress import show_progress
from rowcache_tasks.ops.cli.schedule import MINUS, read_number
from rowcache_tasks.ops.cli.session import open_session
from rowcache_tasks.schedule.arguments import parse_delay
from rowcache_tasks.schedule.claim import Changed
from rowcache_tasks.text import show_count
from rowcache_tasks.worker.reconcile import reconcile_table
from rowcache_tasks.worker.seed import seed_query, seed_table

__all__ = ["reconcile", "schedule_query", "schedule_table"]


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("delay")
def schedule_table(table: str, delay: str) -> None:
    """Cache every row of TABLE, refreshed every DELAY seconds; the first refreshes are spread over that time."""
    with open_session() as session:
        schedule, delay_s = session.schedule(table), parse_delay(read_number(delay))
        with session.open_source(table) as source:
            source.load()
            with show_progress(f"{table}: scheduling", count_rows(source)) as progress:
                changed = seed_table(schedule, source, delay_s, session.stamp(), progress.report)
    click.echo(describe(table, changed))


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("query_and_delay", nargs=-1, required=True, metavar="[QUERY] DELAY")
@click.option("--sql", metavar="SELECT", help="A statement to run instead of a query of the settings.")
def schedule_query(table: str, query_and_delay: tuple[str, ...], sql: str | None) -> None:
    """Cache the rows that QUERY returns, a name in the settings of TABLE, or that the statement after --sql returns.

    Its columns are those of the key, in their order, and perhaps one of delays in seconds; DELAY is for rows without.
    """
    if len(query_and_delay) != (2 if sql is None else 1):
        raise click.UsageError("give TABLE QUERY DELAY, or TABLE DELAY --sql 'SELECT …'")
    *names, delay = query_and_delay
    with open_session() as session:
        schedule, settings = session.schedule(table), session.settings.table(table)
        query = settings.query(names[0]) if sql is None else parse_query("--sql", "--sql", sql)
        delay_s = parse_delay(read_number(delay))
        with session.open_source(table) as source:
            source.check_query(query)
            with show_progress(f"{table}: scheduling", None) as progress:
                changed = seed_query(schedule, source, query, delay_s, session.stamp(), progress.report)
    click.echo(describe(table, changed))


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("delay")
def reconcile(table: str, delay: str) -> None:
    """Bring the schedule of TABLE in line with the database.

    Rows of the database that are not scheduled are, every DELAY seconds; the others keep their own delay. Scheduled
    rows that the database does not have are dropped, except those that were scheduled within the last minute.
    """
    with open_session() as session:
        schedule, state, delay_s = session.schedule(table), session.table_state(table), parse_delay(read_number(delay))
        with session.open_source(table) as source:
            source.load()
            total, scheduled = count_rows(source), state.count_rows()
            with show_progress(f"{table}: comparing", total and total + max(total, scheduled)) as progress:
                found = reconcile_table(
                    schedule, state, source, delay_s, session.stamp(), lambda count, *_: progress.report(count)
                )
    click.echo(
        f"{table}: {show_count(found.added, 'row')} added, every {delay_s:g} s; "
        f"{found.dropped:,} dropped; {found.kept:,} kept"
    )


def count_rows(source: Source) -> int | None:
    """Count the rows of a table; None when that takes longer than a statement may."""
    try:
        return source.count_rows()
    except SourceError:
        return None


def describe(table: str, changed: Changed) -> str:
    """Say what became of the rows."""
    left = f", {changed.ignored:,} left alone: changed meanwhile" if changed.ignored else ""
    return f"{table}: {show_count(changed.applied, 'row')} scheduled{left}"
