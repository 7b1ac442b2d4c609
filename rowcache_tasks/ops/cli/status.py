"""Command status: once, or again and again with --watch."""

import json
import sys
import time
from collections.abc import Callable

import click
import redis

from rowcache_tasks.ops.cli.access import Access, describe_redis_error, open_access
from rowcache_tasks.ops.cli.table_status import Status, read_status
from rowcache_tasks.text import one_line

HOME, END_OF_LINE, BELOW = "\x1b[H", "\x1b[K", "\x1b[J"

Show = Callable[[Status], None]


@click.command()
@click.option(
    "--watch",
    "interval_s",
    is_flag=False,
    flag_value=2.0,
    type=click.FloatRange(min=0.1),
    metavar="[SECONDS]",
    help="Repeat every SECONDS (2) until Ctrl-C; rates and lateness are those since the last time.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object each time.")
def status(interval_s: float | None, as_json: bool) -> None:
    """Show the rows, the rate and the lateness of each table."""
    with open_access() as access:
        if interval_s is None:
            (print_json if as_json else print_table)(read_status(access, None))
            return
        show = print_json if as_json else redraw if sys.stdout.isatty() else print_lines()
        wait_s = interval_s
        watch(access, show, lambda: time.sleep(wait_s))


def watch(access: Access, show: Show, wait: Callable[[], None]) -> None:
    """Read and show until Ctrl-C; an error of Redis is printed, and Redis is read again."""
    last: Status | None = None
    try:
        while True:
            try:
                last = read_status(access, last)
            except redis.RedisError as error:
                click.echo(f"rowcache_tasks: {one_line(describe_redis_error(error, access.settings))}", err=True)
            else:
                show(last)
            wait()
    except KeyboardInterrupt:
        return


def print_table(found: Status) -> None:
    """Print the table and the notes."""
    click.echo("\n".join([*found.lines(), *found.notes()]))


def redraw(found: Status) -> None:
    """Draw the table over the last one; clearing the screen would flicker."""
    lines = "\n".join([found.clock, *found.lines(), *found.notes()]).splitlines()
    click.echo(HOME + "".join(f"{line}{END_OF_LINE}\n" for line in lines) + BELOW, nl=False, color=True)


def print_lines() -> Show:
    """Print a line for each table each time, as for a log."""
    is_first = True

    def show(found: Status) -> None:
        nonlocal is_first
        header, *lines = found.lines()
        if is_first:
            click.echo(f"{'TIME':<8}  {header}")
        is_first = False
        for line in lines:
            click.echo(f"{found.clock}  {line}")

    return show


def print_json(found: Status) -> None:
    """Print an object on one line."""
    click.echo(json.dumps(found.as_json()))
