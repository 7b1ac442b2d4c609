"""Commands that change a schedule, of some rows or of a whole table."""

from dataclasses import asdict
from functools import partial

import click

from rowcache_tasks.config.query import Query, parse_query
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.errors.text import shorten, show_count, show_duration
from rowcache_tasks.ops.cli.access import FailedError, MistypedError, open_access
from rowcache_tasks.ops.cli.command import RowIdCommand, command, json_option, show_progress, table_argument, tell
from rowcache_tasks.schedule.arguments import parse_delay, parse_row_ids
from rowcache_tasks.schedule.claim import Changed
from rowcache_tasks.worker import whole_table

row_ids_argument = click.argument("row_ids", nargs=-1, required=True, metavar="ROW_ID...")


@command("schedule inv 10 42 43", "schedule inv 60 -- --a-row-id", cls=RowIdCommand)
@table_argument
@click.argument("delay")
@row_ids_argument
@json_option
def schedule(table: str, delay: str, row_ids: tuple[str, ...], as_json: bool) -> None:
    """Cache rows from now on, refreshed every DELAY seconds."""
    with open_access() as access:
        rows, delay_s, ids = access.schedule(table), read_delay(delay), parse_row_ids(list(row_ids))
        access.admission.admit(rows.table, dict.fromkeys(ids, delay_s))
        changed = rows.put_rows(dict.fromkeys(ids, (delay_s, 0.0)), access.new_stamp(table))
    text = f"{table}: {show_count(changed.applied, 'row')} due now and every {delay_s:g} s"
    tell(as_json, text, table=table, rows=changed.applied, delay=delay_s)


@command("unschedule inv 42 43", cls=RowIdCommand)
@table_argument
@row_ids_argument
@json_option
def unschedule(table: str, row_ids: tuple[str, ...], as_json: bool) -> None:
    """Stop caching rows and remove their values at once."""
    with open_access() as access:
        dropped = access.schedule(table).drop_rows(parse_row_ids(list(row_ids)), access.new_stamp(table)).applied
    tell(as_json, f"{table}: {show_count(dropped, 'row')} not cached any more", table=table, rows=dropped)


@command("refresh inv 42", cls=RowIdCommand)
@table_argument
@row_ids_argument
@json_option
def refresh(table: str, row_ids: tuple[str, ...], as_json: bool) -> None:
    """Refresh scheduled rows now."""
    with open_access() as access:
        wanted = parse_row_ids(list(row_ids))
        touched = access.schedule(table).touch_rows(wanted)
    left = len(wanted) - touched
    text = f"{table}: {show_count(touched, 'row')} due now" + (f", {left:,} not scheduled" if left else "")
    tell(as_json, text, table=table, rows=touched, not_scheduled=left)


@command("pause inv")
@table_argument
@json_option
def pause(table: str, as_json: bool) -> None:
    """Stop refreshing TABLE until `resume`. Readers keep the last values."""
    paused_s = set_paused(table, True)
    text = "paused; batches that were sent before are still refreshed"
    if paused_s is not None:
        text = f"paused already, for {show_duration(paused_s)}"
    tell(as_json, f"{table}: {text}", table=table, paused=True, paused_s=paused_s or 0.0)


@command("resume inv")
@table_argument
@json_option
def resume(table: str, as_json: bool) -> None:
    """Refresh TABLE again; due rows are refreshed at once."""
    paused_s = set_paused(table, False)
    text = "was not paused" if paused_s is None else f"resumed; it was paused for {show_duration(paused_s)}"
    tell(as_json, f"{table}: {text}", table=table, paused=False, paused_s=paused_s)


def set_paused(table: str, is_paused: bool) -> float | None:
    """Pause or resume a table; return for how many seconds it was paused before, None if it was not."""
    with open_access() as access:
        state = access.table_state(table)
        paused_s = state.paused_s()
        state.pause_table(is_paused, access.new_stamp(table))
    return paused_s


def read_delay(text: str) -> float:
    """Read a delay in seconds; raises ArgumentError."""
    try:
        return parse_delay(float(text))
    except ValueError as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"delay is {shorten(text)}: it must be a finite number of seconds") from error


@command("schedule-table inv 60", cls=RowIdCommand)
@table_argument
@click.argument("delay")
@json_option
def schedule_table(table: str, delay: str, as_json: bool) -> None:
    """Cache every row of TABLE, refreshed every DELAY seconds. The first refreshes are spread over that time."""
    with open_access() as access:
        schedule, delay_s, source = access.schedule(table), read_delay(delay), access.source(table)
        source.load()
        count = source.count_rows()
        admit = access.admission.admit_rows_of(schedule.table, count, delay_s)
        with show_progress(f"{table}: scheduling", count) as report:
            changed = whole_table.seed_table(schedule, source, delay_s, access.new_stamp(table), report, admit)
    tell_scheduled(as_json, table, changed)


@command("schedule-query inv hot 60", 'schedule-query inv 60 --sql "$SQL"', cls=RowIdCommand)
@table_argument
@click.argument("query_and_delay", nargs=-1, required=True, metavar="[QUERY] DELAY")
@click.option("--sql", metavar="SELECT", help="A statement to run instead of a query of the settings.")
@json_option
def schedule_query(table: str, query_and_delay: tuple[str, ...], sql: str | None, as_json: bool) -> None:
    """Cache the rows of a query or of a SELECT statement.

    QUERY is a name in the settings of TABLE. The columns are those of the key, in order, then optionally the delay in
    seconds; DELAY is for rows without one.
    """
    if len(query_and_delay) != (2 if sql is None else 1):
        raise click.UsageError("give TABLE QUERY DELAY, or TABLE DELAY --sql 'SELECT …'")
    *names, delay = query_and_delay
    with open_access() as access:
        schedule = access.schedule(table)
        query = schedule.table.query(names[0]) if sql is None else read_statement(sql)
        delay_s, source = read_delay(delay), access.source(table)
        source.check_query(query)
        admit = partial(access.admission.admit, schedule.table)
        with show_progress(f"{table}: scheduling", None) as report:
            changed = whole_table.seed_query(schedule, source, query, delay_s, access.new_stamp(table), report, admit)
    tell_scheduled(as_json, table, changed)


def read_statement(sql: str) -> Query:
    """Read a SELECT statement; raises MistypedError."""
    try:
        return parse_query("--sql", "--sql", sql)
    except ConfigError as error:
        raise MistypedError(str(error)) from error


@command("reconcile inv 60", cls=RowIdCommand)
@table_argument
@click.argument("delay")
@json_option
def reconcile(table: str, delay: str, as_json: bool) -> None:
    """Schedule the rows of the database, and drop the others.

    New rows are refreshed every DELAY seconds; scheduled rows keep their delay. Rows that were scheduled within the
    last minute are not dropped.
    """
    with open_access() as access:
        schedule, state, delay_s = access.schedule(table), access.table_state(table), read_delay(delay)
        source = access.source(table)
        source.load()
        total, scheduled = source.count_rows(), state.count_rows()
        with show_progress(f"{table}: comparing", total and total + max(total, scheduled)) as report:
            admit = partial(access.admission.admit, schedule.table, only_new=True)
            change = partial(whole_table.reconcile_table, schedule, state, source, delay_s, access.new_stamp(table))
            found = change(lambda count, *_: report(count), admit)
    added = f"{show_count(found.added, 'row')} added, every {delay_s:g} s"
    text = f"{table}: {added}; {found.dropped:,} dropped; {found.kept:,} kept"
    tell(as_json, text, table=table, delay=delay_s, **asdict(found))


@command("drop-table inv")
@table_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-input", is_flag=True, help="Do not ask: without --yes, change nothing.")
@json_option
def drop_table(table: str, yes: bool, no_input: bool, as_json: bool) -> None:
    """Stop caching TABLE: drop all rows and values. Rows scheduled from now on stay."""
    with open_access() as access:
        schedule, state = access.schedule(table), access.table_state(table)
        scheduled = state.count_rows()
        if not yes:
            confirm(f"{table}: drop {show_count(scheduled, 'row')} and their values?", no_input)
        with show_progress(f"{table}: dropping", scheduled) as report:
            stamp = access.new_stamp(table)
            found = whole_table.drop_table(schedule, state, stamp, lambda dropped, kept: report(dropped + kept))
    left = f", {found.kept:,} left alone: scheduled meanwhile" if found.kept else ""
    text = f"{table}: {show_count(found.dropped, 'row')} not cached any more{left}"
    tell(as_json, text, table=table, rows=found.dropped, left_alone=found.kept)


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


def tell_scheduled(as_json: bool, table: str, changed: Changed) -> None:
    """Print the result."""
    left = f", {changed.ignored:,} left alone: changed meanwhile" if changed.ignored else ""
    text = f"{table}: {show_count(changed.applied, 'row')} scheduled{left}"
    tell(as_json, text, table=table, rows=changed.applied, left_alone=changed.ignored)
