"""Command dispatch: a dispatcher without beat."""

import click
from celery.bin.base import LOG_LEVEL

from rowcache_tasks.beat.loop import dispatch as run_loop
from rowcache_tasks.celery.application import CELERY, applications
from rowcache_tasks.ops.cli.access import FailedError, find_app, open_log
from rowcache_tasks.ops.cli.command import command


@command("dispatch", "dispatch --logfile dispatcher.log")
@click.option("-l", "--loglevel", type=LOG_LEVEL, default="INFO", show_default=True, help="Level of the log.")
@click.option("-f", "--logfile", help="File of the log. Default: stderr.")
def dispatch(loglevel: int, logfile: str | None) -> None:
    """Send due rows to the workers until SIGTERM. For a team whose beat has another scheduler. Start any number."""
    app = find_app()
    if app not in applications:
        raise FailedError(f"{CELERY} is an application without rowcache_tasks.install(app): call it there")
    open_log(app, loglevel, logfile)
    run_loop(app)
