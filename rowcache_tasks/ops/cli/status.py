"""Own the command status: once, or over and over with --watch."""

import json
import sys
import time
from collections.abc import Callable

import click
import redis

from rowcache_tasks.celery import REFRESH_QUEUE
from rowcache_tasks.celery.queue_length import Queue
from rowcache_tasks.ops.cli.reading import Reading, read_status
from rowcache_tasks.ops.cli.render import HEADER, clock, lay_out, notes, rows
from rowcache_tasks.ops.cli.session import Session, describe_redis_error, find_app, open_session
from rowcache_tasks.text import one_line, show_count

__all__ = ["status", "watch"]

HOME, END_OF_LINE, BELOW = "\x1b[H", "\x1b[K", "\x1b[J"

Show = Callable[[Reading], None]


@click.command()
@click.option(
    "--watch",
    "interval_s",
    is_flag=False,
    flag_value=2.0,
    type=click.FloatRange(min=0.1),
    metavar="[SECONDS]",
    help="Read again every so many seconds (2) until Ctrl-C; rates and lateness are then those since the last reading.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each reading.")
@click.pass_context
def status(ctx: click.Context, interval_s: float | None, as_json: bool) -> None:
    """Show for each table what is scheduled, overdue and failing, and how fast and how late rows are committed."""
    app = find_app(ctx)
    queue = Queue(app, REFRESH_QUEUE) if app else None
    with open_session() as session:
        if interval_s is None:
            show = print_json(queue) if as_json else print_table(queue)
            show(read_status(session, None))
            return
        show = print_json(queue) if as_json else redraw(queue) if sys.stdout.isatty() else print_lines()
        wait_s = interval_s
        watch(session, show, lambda: time.sleep(wait_s))


def watch(session: Session, show: Show, wait: Callable[[], None]) -> None:
    """Read and show until Ctrl-C. A Redis that is away is reported, and tried again."""
    reading: Reading | None = None
    try:
        while True:
            try:
                reading = read_status(session, reading)
            except redis.RedisError as error:
                click.echo(f"rowcache_tasks: {one_line(describe_redis_error(error, session.settings))}", err=True)
            else:
                show(reading)
            wait()
    except KeyboardInterrupt:
        return


def print_table(queue: Queue | None) -> Show:
    """Print a table; the queue comes last, since the broker may take a second to be found away."""

    def show(reading: Reading) -> None:
        click.echo("\n".join(map(lay_out, [HEADER, *rows(reading)])))
        for note in notes(reading, describe_queue(queue)):
            click.echo(note)

    return show


def redraw(queue: Queue | None) -> Show:
    """Draw a table over the last one, without the flicker of clearing the screen."""

    def show(reading: Reading) -> None:
        lines = [clock(reading), *map(lay_out, [HEADER, *rows(reading)]), *notes(reading, describe_queue(queue))]
        click.echo(HOME + "".join(f"{line}{END_OF_LINE}\n" for line in lines) + BELOW, nl=False, color=True)

    return show


def print_lines() -> Show:
    """Print a line for each table and reading, as for a log."""
    is_first = True

    def show(reading: Reading) -> None:
        nonlocal is_first
        if is_first:
            click.echo(f"{'TIME':<8}  {lay_out(HEADER)}")
        is_first = False
        for cells in rows(reading):
            click.echo(f"{clock(reading)}  {lay_out(cells)}")

    return show


def print_json(queue: Queue | None) -> Show:
    """Print an object on one line."""

    def show(reading: Reading) -> None:
        click.echo(json.dumps({**reading.as_json(), "queue": queue.length() if queue else None}))

    return show


def describe_queue(queue: Queue | None) -> str:
    """Say how many batches wait; nothing without our application."""
    if queue is None:
        return ""
    length = queue.length()
    if length is None:
        return f"queue: unknown: {one_line(queue.error, 150)}"
    return f"queue: {show_count(length, 'batch', 'batches')} waiting"
