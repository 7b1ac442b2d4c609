"""Own the command that examines a deployment for a person."""

import click

from rowcache_tasks.ops.cli.session import find_app, open_session
from rowcache_tasks.ops.doctor import examine
from rowcache_tasks.text import one_line

__all__ = ["doctor"]


@click.command()
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Check every part and say what to do; exit status 1 when something is broken. Changes nothing."""
    is_broken = False
    with open_session() as session:
        for finding in examine(session.settings, session.client, find_app(ctx)):
            click.echo(f"{finding.level:<4}  {one_line(finding.text)}")
            is_broken = is_broken or finding.level == "fail"
    if is_broken:
        ctx.exit(1)
