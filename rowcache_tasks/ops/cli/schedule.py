"""Own the commands that change the schedule: schedule, unschedule, refresh."""

import click

from rowcache_tasks.ops.cli.session import open_session
from rowcache_tasks.schedule.arguments import parse_delay, parse_row_ids
from rowcache_tasks.text import show_count

__all__ = ["refresh", "schedule", "unschedule"]

# Row ids and delays may begin with a minus sign: what is no known option is an argument.
MINUS = {"ignore_unknown_options": True}


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("delay")
@click.argument("row_ids", nargs=-1, required=True, metavar="ROW_ID...")
def schedule(table: str, delay: str, row_ids: tuple[str, ...]) -> None:
    """Cache rows from now on, refreshed every DELAY seconds."""
    with open_session() as session:
        target, delay_s = session.schedule(table), parse_delay(read_number(delay))
        changed = target.put_rows(dict.fromkeys(parse_row_ids(list(row_ids)), (delay_s, 0.0)))
    click.echo(f"{table}: {show_count(changed.applied, 'row')} due now and every {delay_s:g} s")


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("row_ids", nargs=-1, required=True, metavar="ROW_ID...")
def unschedule(table: str, row_ids: tuple[str, ...]) -> None:
    """Stop caching rows and remove their values at once."""
    with open_session() as session:
        changed = session.schedule(table).drop_rows(parse_row_ids(list(row_ids)))
    click.echo(f"{table}: {show_count(changed.applied, 'row')} not cached any more")


@click.command(context_settings=MINUS)
@click.argument("table")
@click.argument("row_ids", nargs=-1, required=True, metavar="ROW_ID...")
def refresh(table: str, row_ids: tuple[str, ...]) -> None:
    """Refresh scheduled rows now, as after a change in the database."""
    with open_session() as session:
        wanted = parse_row_ids(list(row_ids))
        touched = session.schedule(table).touch_rows(wanted)
    left = len(wanted) - touched
    click.echo(f"{table}: {show_count(touched, 'row')} due now" + (f", {left:,} not scheduled" if left else ""))


def read_number(text: str) -> float | str:
    """Read a number; what is none is left to the check of delays, which has the better message."""
    try:
        return float(text)
    except ValueError:
        return text
