"""Commands schedule, unschedule, refresh, pause and resume."""

import click

from rowcache_tasks.ops.cli.access import open_access
from rowcache_tasks.schedule.arguments import parse_delay, parse_row_ids
from rowcache_tasks.text import show_count

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
        changed = rows.put_rows(dict.fromkeys(parse_row_ids(list(row_ids)), (delay_s, 0.0)))
    click.echo(f"{table}: {show_count(changed.applied, 'row')} due now and every {delay_s:g} s")


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("row_ids", nargs=-1, required=True, metavar="ROW_ID...")
def unschedule(table: str, row_ids: tuple[str, ...]) -> None:
    """Stop caching rows and remove their values at once."""
    with open_access() as access:
        changed = access.schedule(table).drop_rows(parse_row_ids(list(row_ids)))
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
        access.table_state(table).pause_table(True)
    click.echo(f"{table}: paused; batches that were sent before are still refreshed")


@click.command()
@click.argument("table")
def resume(table: str) -> None:
    """Refresh TABLE again; due rows are refreshed at once."""
    with open_access() as access:
        access.table_state(table).pause_table(False)
    click.echo(f"{table}: not paused")


def read_delay(text: str) -> float:
    """Read a delay in seconds; raises ArgumentError."""
    try:
        delay: float | str = float(text)
    except ValueError:
        delay = text
    return parse_delay(delay)
