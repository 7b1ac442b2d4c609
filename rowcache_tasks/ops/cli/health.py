"""Own the command for health checks of containers and load balancers."""

import click

from rowcache_tasks.celery import REFRESH_QUEUE
from rowcache_tasks.celery.queue_length import Queue
from rowcache_tasks.ops.cli.session import FailedError, find_app, open_session
from rowcache_tasks.ops.health import default_max_overdue_s, is_halted, read_health
from rowcache_tasks.text import one_line

__all__ = ["health"]


@click.command()
@click.option(
    "--max-overdue",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long rows may wait. Default: one lease, at least 10 s.",
)
@click.option(
    "--liveness",
    is_flag=True,
    help="For a check that restarts what fails: exit with status 1 only when nothing of any table was committed, and "
    "Redis and the broker answer. A restart mends neither of them.",
)
@click.pass_context
def health(ctx: click.Context, max_overdue: float | None, liveness: bool) -> None:
    """Exit with status 1 when rows have waited too long and nothing was committed for as long."""
    try:
        check(ctx, max_overdue, is_liveness=liveness)
    except FailedError as error:
        if not liveness or isinstance(error, StalledError):
            raise
        click.echo(f"not known: {one_line(error.message)}")


class StalledError(FailedError):
    """Rows wait and nothing is committed."""


def check(ctx: click.Context, max_overdue_s: float | None, *, is_liveness: bool) -> None:
    """Print one line, or raise StalledError; raises FailedError when it cannot be known."""
    with open_session() as session:
        limit_s = default_max_overdue_s(session.settings) if max_overdue_s is None else max_overdue_s
        tables = read_health(session.client, session.settings.tables.values(), session.settings.lease_s)
    stalled = [table for table in tables if table.is_stalled(limit_s)]
    if is_liveness and not is_halted(tables, limit_s):
        stalled = []
    if stalled and is_liveness and (app := find_app(ctx)):
        queue = Queue(app, REFRESH_QUEUE)
        if queue.length() is None:
            raise FailedError(queue.error)
    shown = "; ".join(table.describe() for table in stalled or tables)
    if stalled:
        raise StalledError(f"stalled for over {limit_s:g} s: {shown}: are workers and dispatchers running?")
    click.echo(f"ok: {shown}")
