"""Commands that change a schedule, of some rows or of a whole table."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from rowcache_tasks.config.query import Query, parse_query
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.errors.text import shorten, show_count, show_duration
from rowcache_tasks.ops.cli.access import Access, FailedError, MistypedError
from rowcache_tasks.ops.cli.command import Result, RowIdTableCommand, TableCommand, command, show_progress
from rowcache_tasks.schedule.arguments import parse_delay, parse_row_ids
from rowcache_tasks.schedule.claim import Changed
from rowcache_tasks.worker import whole_table
from rowcache_tasks.worker.grow import begin_growth, move_rows

row_ids_argument = click.argument("row_ids", nargs=-1, required=True, metavar="ROW_ID...")


def changed(table: str, text: str, **figures: Any) -> Result:
    """Return the result of a change."""
    return Result([f"{table}: {text}"], figures)


@command("schedule inv 10 42 43", "schedule inv 60 -- --a-row-id", cls=RowIdTableCommand)
@click.argument("delay")
@row_ids_argument
def schedule(access: Access, table: str, delay: str, row_ids: Sequence[str]) -> Result:
    """Cache rows from now on, refreshed every DELAY seconds."""
    rows, delay_s, ids = access.schedule(table), read_delay(delay), parse_row_ids(list(row_ids))
    access.admission.admit(rows.table, dict.fromkeys(ids, delay_s))
    count = rows.put_rows(dict.fromkeys(ids, (delay_s, 0.0)), access.new_stamp(table)).applied
    return changed(table, f"{show_count(count, 'row')} due now and every {delay_s:g} s", rows=count, delay=delay_s)


@command("unschedule inv 42 43", cls=RowIdTableCommand)
@row_ids_argument
def unschedule(access: Access, table: str, row_ids: Sequence[str]) -> Result:
    """Stop caching rows and remove their values at once."""
    count = access.schedule(table).drop_rows(parse_row_ids(list(row_ids)), access.new_stamp(table)).applied
    return changed(table, f"{show_count(count, 'row')} not cached any more", rows=count)


@command("refresh inv 42", cls=RowIdTableCommand)
@row_ids_argument
def refresh(access: Access, table: str, row_ids: Sequence[str]) -> Result:
    """Refresh scheduled rows now."""
    wanted = parse_row_ids(list(row_ids))
    count = access.schedule(table).touch_rows(wanted)
    left = len(wanted) - count
    text = f"{show_count(count, 'row')} due now" + (f", {left:,} not scheduled" if left else "")
    return changed(table, text, rows=count, not_scheduled=left)


@command("pause inv", cls=TableCommand)
def pause(access: Access, table: str) -> Result:
    """Stop refreshing TABLE until `resume`. Readers keep the last values."""
    paused_s = set_paused(access, table, True)
    text = "paused; batches that were sent before are still refreshed"
    if paused_s is not None:
        text = f"paused already, for {show_duration(paused_s)}"
    return changed(table, text, paused=True, paused_s=paused_s or 0.0)


@command("resume inv", cls=TableCommand)
def resume(access: Access, table: str) -> Result:
    """Refresh TABLE again; due rows are refreshed at once."""
    paused_s = set_paused(access, table, False)
    text = "was not paused" if paused_s is None else f"resumed; it was paused for {show_duration(paused_s)}"
    return changed(table, text, paused=False, paused_s=paused_s)


def set_paused(access: Access, table: str, is_paused: bool) -> float | None:
    """Pause or resume a table; return for how many seconds it was paused before, None if it was not."""
    state = access.table_state(table)
    paused_s = state.paused_s()
    state.pause_table(is_paused, access.new_stamp(table))
    return paused_s


def read_delay(text: str) -> float:
    """Read a delay in seconds; raises ArgumentError."""
    try:
        return parse_delay(float(text))
    except ArgumentError:
        raise
    except ValueError as error:
        raise ArgumentError(f"delay is {shorten(text)}: it must be a finite number of seconds") from error


@command("schedule-table inv 60", cls=RowIdTableCommand)
@click.argument("delay")
def schedule_table(access: Access, table: str, delay: str) -> Result:
    """Cache every row of TABLE, refreshed every DELAY seconds. The first refreshes are spread over that time."""
    whole, delay_s = access.whole_table(table), read_delay(delay)
    whole.source.load()
    count = whole.source.count_rows()
    with show_progress(f"{table}: scheduling", count) as report:
        return scheduled(table, whole.seed(count, delay_s, access.new_stamp(table), report))


@command("schedule-query inv hot 60", 'schedule-query inv 60 --sql "$SQL"', cls=RowIdTableCommand)
@click.argument("query_and_delay", nargs=-1, required=True, metavar="[QUERY] DELAY")
@click.option("--sql", metavar="SELECT", help="A statement to run instead of a query of the settings.")
def schedule_query(access: Access, table: str, query_and_delay: Sequence[str], sql: str | None) -> Result:
    """Cache the rows of a query or of a SELECT statement.

    QUERY is a name in the settings of TABLE. The columns are those of the key, in order, then optionally the delay in
    seconds; DELAY is for rows without one.
    """
    if len(query_and_delay) != (2 if sql is None else 1):
        raise click.UsageError("give TABLE QUERY DELAY, or TABLE DELAY --sql 'SELECT …'")
    *names, delay = query_and_delay
    query = access.settings.table(table).query(names[0]) if sql is None else read_statement(sql)
    delay_s, whole = read_delay(delay), access.whole_table(table)
    whole.source.check_query(query)
    with show_progress(f"{table}: scheduling", None) as report:
        return scheduled(table, whole.seed_query(query, delay_s, access.new_stamp(table), report))


def scheduled(table: str, found: Changed) -> Result:
    """Return the result of a command that schedules many rows."""
    left = f", {found.ignored:,} left alone: changed meanwhile" if found.ignored else ""
    text = f"{show_count(found.applied, 'row')} scheduled{left}"
    return changed(table, text, rows=found.applied, left_alone=found.ignored)


def read_statement(sql: str) -> Query:
    """Read a SELECT statement; raises MistypedError."""
    try:
        return parse_query("--sql", "--sql", sql)
    except ConfigError as error:
        raise MistypedError(str(error)) from error


@command("reconcile inv 60", cls=RowIdTableCommand)
@click.argument("delay")
def reconcile(access: Access, table: str, delay: str) -> Result:
    """Schedule the rows of the database, and drop the others.

    New rows are refreshed every DELAY seconds; scheduled rows keep their delay. Rows that were scheduled within the
    last minute are not dropped.
    """
    whole, delay_s = access.whole_table(table), read_delay(delay)
    whole.source.load()
    total, count = whole.source.count_rows(), whole.state.count_rows()
    with show_progress(f"{table}: comparing", total and total + max(total, count)) as report:
        found = whole.reconcile(delay_s, access.new_stamp(table), lambda count, *_: report(count))
    added = f"{show_count(found.added, 'row')} added, every {delay_s:g} s"
    return changed(table, f"{added}; {found.dropped:,} dropped; {found.kept:,} kept", delay=delay_s, **asdict(found))


@command("drop-table inv", cls=TableCommand)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-input", is_flag=True, help="Do not ask: without --yes, change nothing.")
def drop_table(access: Access, table: str, yes: bool, no_input: bool) -> Result:
    """Stop caching TABLE: drop all rows and values. Rows scheduled from now on stay."""
    schedule, state = access.schedule(table), access.table_state(table)
    count = state.count_rows()
    if not yes:
        confirm(f"{table}: drop {show_count(count, 'row')} and their values?", no_input)
    with show_progress(f"{table}: dropping", count) as report:
        stamp = access.new_stamp(table)
        found = whole_table.drop_table(schedule, state, stamp, lambda dropped, kept: report(dropped + kept))
    left = f", {found.kept:,} left alone: scheduled meanwhile" if found.kept else ""
    text = f"{show_count(found.dropped, 'row')} not cached any more{left}"
    return changed(table, text, rows=found.dropped, left_alone=found.kept)


def confirm(question: str, no_input: bool) -> None:
    """Ask on stderr; raises FailedError for any answer but yes, or none."""
    unanswered = FailedError("nobody answers, and nothing was changed: add --yes where nobody can")
    if no_input:
        raise unanswered
    try:
        is_wanted = click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)
        raise unanswered from None
    if not is_wanted:
        raise FailedError("not confirmed, and nothing was changed")


@command("grow inv", cls=TableCommand)
def grow(access: Access, table: str) -> Result:
    """Move rows to the new partitions of TABLE. It stays in use.

    All processes have the new number as 'partitions' and the old one as 'growing_from': docs/cluster.md. After an
    interruption the same command does the rest. Run it again for rows that other programs write by the old keys.
    """
    growth = begin_growth(access.client, access.settings, access.settings.table(table))
    with show_progress(f"{table}: moving", growth.count_left()) as report:
        moved = move_rows(access.client, growth, report)
    partitions, before = growth.table.partitions, growth.old.partitions
    text = f"{show_count(moved, 'row')} moved, from {before} to {partitions} partitions"
    return changed(table, text, rows=moved, partitions=partitions, growing_from=before)
