"""Command health, for alerts and load balancers."""

import click

from rowcache_tasks.celery.broker_state import BrokerState
from rowcache_tasks.ops.cli.access import FailedError, find_app, open_access
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
@click.pass_context
def health(ctx: click.Context, max_overdue: float | None, liveness: bool) -> None:
    """Exit with status 1 when rows are not refreshed, or soon will not be; name each cause in one line."""
    if liveness:
        check_liveness(ctx, max_overdue)
        return
    with open_access() as access:
        app = find_app(ctx)
        found = read_overview(access.client, access.settings, BrokerState(app) if app else None)
        problems = list(find_problems(found, access.settings, max_overdue))
    is_bad = any(problem.level == "fail" for problem in problems)
    for problem in problems:
        prefix = "rowcache_tasks" if problem.level == "fail" else "warn"
        click.echo(f"{prefix}: {one_line(problem.text)}", err=is_bad)
    if is_bad:
        ctx.exit(1)
    if not app:
        click.echo("warn: broker: not checked: start this as celery -A rowcache_tasks rowcache health")
    elif not problems:
        click.echo(f"ok: {describe(found)}")


def describe(found: Overview) -> str:
    """Return the state of tables and the number of processes in one line."""
    parts = [table.describe() for table in found.tables.values()]
    parts += [show_count(len(found.alive(kind)), kind) for kind in (DISPATCHER, WORKER)]
    return "; ".join(parts)


def check_liveness(ctx: click.Context, max_overdue_s: float | None) -> None:
    """Print one line; raise StalledError if nothing of any table was committed while the servers answer."""
    try:
        with open_access() as access:
            limit_s = default_max_overdue_s(access.settings) if max_overdue_s is None else max_overdue_s
            found = read_overview(access.client, access.settings, with_clients=False)
        tables = list(found.tables.values())
        if is_halted(tables, limit_s):
            broker = BrokerState(app) if (app := find_app(ctx)) else None
            if broker and broker.read() is None:
                raise FailedError(broker.error)
            shown = "; ".join(table.describe() for table in tables if table.is_stalled(limit_s))
            raise StalledError(f"stalled for over {limit_s:g} s: {shown}: are workers and dispatchers running?")
        click.echo(f"ok: {'; '.join(table.describe() for table in tables)}")
    except StalledError:
        raise
    except FailedError as error:
        click.echo(f"not known: {one_line(error.message)}")


class StalledError(FailedError):
    """Rows wait and nothing is committed."""
