"""Command health, for alerts and load balancers."""

import sys

import click

from rowcache_tasks.ops.cli.access import FailedError, open_access
from rowcache_tasks.ops.overview import Overview, read_overview
from rowcache_tasks.ops.problem import find_problems
from rowcache_tasks.ops.snapshot import default_max_overdue_s, is_halted
from rowcache_tasks.schedule.process import DISPATCHER, WORKER
from rowcache_tasks.text import one_line, show_count


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
def health(max_overdue: float | None, liveness: bool) -> None:
    """Exit with status 1 when rows are not refreshed, or soon will not be; name each cause in one line."""
    if liveness:
        check_liveness(max_overdue)
        return
    with open_access() as access:
        found = read_overview(access.client, access.settings, access.broker)
        problems = list(find_problems(found, access.settings, max_overdue))
    is_bad = any(problem.level == "fail" for problem in problems)
    for problem in problems:
        prefix = "rowcache_tasks" if problem.level == "fail" else "warn"
        click.echo(f"{prefix}: {one_line(problem.text)}", err=is_bad)
    if is_bad:
        sys.exit(1)
    if not access.broker:
        click.echo("warn: broker: not checked: start this as celery -A rowcache_tasks rowcache health")
    elif not problems:
        alive = [show_count(len(found.alive(kind)), kind) for kind in (DISPATCHER, WORKER)]
        click.echo("; ".join([f"ok: {describe(found)}", *alive]))


def check_liveness(max_overdue_s: float | None) -> None:
    """Print one line; raise FailedError if nothing of any table was committed while the servers answer."""
    try:
        with open_access() as access:
            limit_s = default_max_overdue_s(access.settings) if max_overdue_s is None else max_overdue_s
            found = read_overview(access.client, access.settings, with_clients=False)
            is_bad = is_halted([*found.tables.values()], limit_s)
            if is_bad and access.broker and access.broker.read() is None:
                raise FailedError(access.broker.error)
    except FailedError as error:
        click.echo(f"not known: {one_line(error.message)}")
        return
    if is_bad:
        shown = "; ".join(table.describe() for table in found.tables.values() if table.is_stalled(limit_s))
        raise FailedError(f"stalled for over {limit_s:g} s: {shown}: are workers and dispatchers running?")
    click.echo(f"ok: {describe(found)}")


def describe(found: Overview) -> str:
    """Return the state of all tables in one line."""
    return "; ".join(table.describe() for table in found.tables.values())
