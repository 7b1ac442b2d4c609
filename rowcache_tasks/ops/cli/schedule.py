"""Commands that change a schedule, of some rows or of a whole table.

schedule-table, schedule-query and reconcile read the database themselves, without a worker. After an interruption the
same command does the rest.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import TYPE_CHECKING

import click

from rowcache_tasks.config.query import parse_query
from rowcache_tasks.errors import SourceError
from rowcache_tasks.errors.text import show_count
from rowcache_tasks.ops.cli.access import FailedError, open_access
from rowcache_tasks.schedule.arguments import parse_delay, parse_row_ids
from rowcache_tasks.schedule.claim import Changed
from rowcache_tasks.worker.drop import drop_table as drop_rows_of
from rowcache_tasks.worker.reconcile import reconcile_table
from rowcache_tasks.worker.seed import seed_query, seed_table

if TYPE_CHECKING:
    from rowcache_tasks.database.source import Source

MINUS = {"ignore_unknown_options": True}
"""Row ids and delays may begin with a minus sign: an unknown option is an argument."""


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("delay")
@click.argument("row_ids", nargs=-1, required=True, metavar="ROW_ID...")
def schedule(table: str, delay: str, row_ids: tuple[str, ...]) -> None:
    """Cache rows from now on, refreshed every DELAY seconds."""
    with open_access() as access:
        rows, delay_s = access.schedule(table), read_delay(delay)
        changed = rows.put_rows(dict.fromkeys(parse_row_ids(list(row_ids)), (delay_s, 0.0)), access.new_stamp(table))
    click.echo(f"{table}: {show_count(changed.applied, 'row')} due now and every {delay_s:g} s")


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("row_ids", nargs=-1, required=True, metavar="ROW_ID...")
def unschedule(table: str, row_ids: tuple[str, ...]) -> None:
    """Stop caching rows and remove their values at once."""
    with open_access() as access:
        changed = access.schedule(table).drop_rows(parse_row_ids(list(row_ids)), access.new_stamp(table))
    click.echo(f"{table}: {show_count(changed.applied, 'row')} not cached any more")


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("row_ids", nargs=-1, required=True, metavar="ROW_ID...")
def refresh(table: str, row_ids: tuple[str, ...]) -> None:
    """Refresh scheduled rows now."""
    with open_access() as access:
        wanted = parse_row_ids(list(row_ids))
        touched = access.schedule(table).touch_rows(wanted)
    left = len(wanted) - touched
    click.echo(f"{table}: {show_count(touched, 'row')} due now" + (f", {left:,} not scheduled" if left else ""))


@click.command()
@click.argument("table")
def pause(table: str) -> None:
    """Stop refreshing TABLE until `resume`. Readers keep the last values."""
    with open_access() as access:
        access.table_state(table).pause_table(True, access.new_stamp(table))
    click.echo(f"{table}: paused; batches that were sent before are still refreshed")


@click.command()
@click.argument("table")
def resume(table: str) -> None:
    """Refresh TABLE again; due rows are refreshed at once."""
    with open_access() as access:
        access.table_state(table).pause_table(False, access.new_stamp(table))
    click.echo(f"{table}: not paused")


def read_delay(text: str) -> float:
    """Read a delay in seconds; raises ArgumentError."""
    try:
        delay: float | str = float(text)
    except ValueError:
        delay = text
    return parse_delay(delay)


LINE_S = 5.0
"""Time between two lines without a bar."""


@contextmanager
def show_progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows the number of rows done so far: in a bar on a terminal, else in some lines.

    `total`: about so many rows; None: unknown. Ctrl-C raises FailedError with the rows done.
    """
    count, shown_at, bar = 0, time.monotonic(), None

    def report(done: int) -> None:
        nonlocal count, shown_at
        if bar is not None:
            bar.update(done - count)
        elif time.monotonic() - shown_at >= LINE_S:
            shown_at = time.monotonic()
            click.echo(f"{title}: {done:,}{'' if total is None else f' of about {total:,}'} rows", err=True)
        count = done

    try:
        if sys.stderr.isatty() and total != 0:
            endless = repeat(None) if total is None else None  # the bar then moves to and fro
            with click.progressbar(endless, total, title, show_pos=True, file=sys.stderr, update_min_steps=1000) as bar:
                yield report
        else:
            yield report
    except KeyboardInterrupt:
        raise FailedError(
            f"{title}: interrupted after {show_count(count, 'row')}, which stay done: the same command does the rest"
        ) from None


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("delay")
def schedule_table(table: str, delay: str) -> None:
    """Cache every row of TABLE, refreshed every DELAY seconds. The first refreshes are spread over that time."""
    with open_access() as access:
        schedule, delay_s, source = access.schedule(table), read_delay(delay), access.source(table)
        source.load()
        with show_progress(f"{table}: scheduling", count_rows(source)) as report:
            changed = seed_table(schedule, source, delay_s, access.new_stamp(table), report)
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
        with show_progress(f"{table}: scheduling", None) as report:
            changed = seed_query(schedule, source, query, delay_s, access.new_stamp(table), report)
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
        with show_progress(f"{table}: comparing", total and total + max(total, scheduled)) as report:
            found = reconcile_table(
                schedule, state, source, delay_s, access.new_stamp(table), lambda count, *_: report(count)
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
        with show_progress(f"{table}: dropping", scheduled) as report:
            found = drop_rows_of(schedule, state, access.new_stamp(table), lambda dropped, kept: report(dropped + kept))
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
