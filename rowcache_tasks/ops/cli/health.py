"""Command health, for containers and load balancers."""

import click

from rowcache_tasks.celery import REFRESH_QUEUE
from rowcache_tasks.celery.queue_length import Queue
from rowcache_tasks.ops.cli.access import FailedError, find_app, open_access
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
    help="For checks that restart processes: exit status 1 only if nothing of any table was committed while Redis and "
    "the broker answer.",
)
@click.pass_context
def health(ctx: click.Context, max_overdue: float | None, liveness: bool) -> None:
    """Exit with status 1 when a table is stalled."""
    try:
        check(ctx, max_overdue, is_liveness=liveness)
    except FailedError as error:
        if not liveness or isinstance(error, StalledError):
            raise
        click.echo(f"not known: {one_line(error.message)}")


class StalledError(FailedError):
    """Rows wait and nothing is committed."""


def check(ctx: click.Context, max_overdue_s: float | None, *, is_liveness: bool) -> None:
    """Print one line; raise StalledError, or FailedError when a server does not answer."""
    with open_access() as access:
        limit_s = default_max_overdue_s(access.settings) if max_overdue_s is None else max_overdue_s
        tables = read_health(access.client, access.settings.tables.values(), access.settings.lease_s)
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
