"""Own the command for health checks of containers and load balancers."""

import click

from rowcache_tasks.cli.session import FailedError, open_session
from rowcache_tasks.health import default_max_overdue_s, read_health

__all__ = ["health"]


@click.command()
@click.option(
    "--max-overdue",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long rows may wait. Default: one lease, at least 10 s.",
)
def health(max_overdue: float | None) -> None:
    """Exit with status 1 when rows have waited too long and nothing was committed for as long."""
    with open_session() as session:
        limit_s = default_max_overdue_s(session.settings) if max_overdue is None else max_overdue
        tables = read_health(session.client, session.settings.tables.values(), session.settings.lease_s)
    if stalled := [table.describe() for table in tables if table.is_stalled(limit_s)]:
        raise FailedError(f"stalled for over {limit_s:g} s: {'; '.join(stalled)}: are workers and dispatchers running?")
    click.echo(f"ok: {'; '.join(table.describe() for table in tables)}")
