"""Command doctor."""

import sys

import click

from rowcache_tasks.ops.cli.access import find_app, open_access
from rowcache_tasks.ops.doctor import examine
from rowcache_tasks.text import one_line


@click.command()
def doctor() -> None:
    """Check every part of the deployment. Exit status 1 for a fault, with its remedy. Changes nothing."""
    is_broken = False
    with open_access() as access:
        for finding in examine(access.settings, access.client, find_app()):
            text = f"{finding.level:<4}  {one_line(finding.text)}"
            click.echo(click.wrap_text(text, 80, subsequent_indent=" " * 6) if sys.stdout.isatty() else text)
            is_broken = is_broken or finding.level == "fail"
    if is_broken:
        sys.exit(1)
