"""Own the commands about a table as a whole that need no database: pause, resume, drop-table."""

import click

from rowcache_tasks.ops.cli.progress import show_progress
from rowcache_tasks.ops.cli.session import open_session
from rowcache_tasks.text import show_count
from rowcache_tasks.worker.drop import drop_table as drop_all

__all__ = ["drop_table", "pause", "resume"]


@click.command()
@click.argument("table")
def pause(table: str) -> None:
    """Let no dispatcher claim rows of TABLE, on any machine, until `resume`. Readers keep the last values."""
    with open_session() as session:
        session.table_state(table).pause_table(True)
    click.echo(f"{table}: paused; batches that were sent already are still refreshed")


@click.command()
@click.argument("table")
def resume(table: str) -> None:
    """Let dispatchers claim rows of TABLE again; what is due is refreshed at once."""
    with open_session() as session:
        session.table_state(table).pause_table(False)
    click.echo(f"{table}: not paused")


@click.command()
@click.argument("table")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop_table(table: str, yes: bool) -> None:
    """Stop caching TABLE: unschedule every row and remove every value. Rows scheduled from now on stay."""
    with open_session() as session:
        schedule, state = session.schedule(table), session.table_state(table)
        scheduled = state.count_rows()
        if not yes:
            click.confirm(f"{table}: drop {show_count(scheduled, 'row')} and their values?", abort=True, err=True)
        with show_progress(f"{table}: dropping", scheduled) as progress:
            cleared = drop_all(schedule, state, session.stamp(), lambda dropped, kept: progress.report(dropped + kept))
    left = f", {cleared.kept:,} left alone: scheduled meanwhile" if cleared.kept else ""
    click.echo(f"{table}: {show_count(cleared.dropped, 'row')} not cached any more{left}")
