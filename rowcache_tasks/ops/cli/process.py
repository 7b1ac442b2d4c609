"""Commands dispatch and follow: processes that run until SIGTERM."""

import logging
import re
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from celery.bin.base import LOG_LEVEL
from celery.utils.nodenames import gethostname

from rowcache_tasks.beat.loop import dispatch as run_loop
from rowcache_tasks.celery.application import CELERY, applications
from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.ops.cli.access import Access, FailedError, find_app, open_access, open_log
from rowcache_tasks.ops.cli.command import Seconds, TableName, command
from rowcache_tasks.schedule.process import ProcessNote
from rowcache_tasks.worker.follow import NotifyFollower, Outage, PollingFollower
from rowcache_tasks.worker.touches import Touches

if TYPE_CHECKING:
    from rowcache_tasks.database.notification import Listener, NotifyingTable
    from rowcache_tasks.database.slot import Slot

logger = logging.getLogger(__name__)

SLOT_NAME = re.compile("[a-z0-9_]{1,63}")
SLOT_S = 3600.0  # longest look at a slot
MAX_WAIT_S = 1.0  # longest wait: the process notes itself between two


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


@command("follow inv --column updated_at", "follow inv --sql | psql shop")
@click.argument("tables", type=TableName(), nargs=-1, required=True, metavar="TABLE...")
@click.option(
    "--source",
    type=click.Choice(["notify", "watermark", "slot"]),
    help="Triggers, a column, or a replication slot. Default: notify for PostgreSQL without --column or --slot.",
)
@click.option("--sql", "is_sql", is_flag=True, help="Print the SQL of the triggers, or of the slot, and end.")
@click.option("--column", metavar="NAME", help="It grows with each change of a row. Default: the table's version.")
@click.option(
    "--every",
    type=Seconds(0.05, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Pause between two looks at the column or slot.",
)
@click.option(
    "--margin",
    type=Seconds(0, 600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest transaction that changes rows.",
)
@click.option("--slot", metavar="NAME", help="Replication slot, and publication. Default: rowcache.")
@click.option("-l", "--loglevel", type=LOG_LEVEL, default="INFO", show_default=True, help="Level of the log.")
@click.option("-f", "--logfile", help="File of the log. Default: stderr.")
def follow(  # noqa: PLR0913, PLR0917 its options
    tables: tuple[str, ...],
    source: str | None,
    is_sql: bool,
    column: str | None,
    every: float,
    margin: float,
    slot: str | None,
    loglevel: int,
    logfile: str | None,
) -> None:
    """Refresh rows of TABLEs at once when they change.

    Runs until SIGTERM, for scheduled rows.

    Each row is also refreshed by its interval: without this process a change is seen that much later, and no row is
    lost. Two of them do no harm.
    """
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    with open_access() as access:
        if slot or source == "slot":  # before an engine is made: one look reads a whole transaction
            access.statement_timeout_s = max(SLOT_S, access.statement_timeout_s)
        chosen = [access.settings.table(name) for name in dict.fromkeys(tables)]
        is_postgresql = all(is_notifying(access, table) for table in chosen)
        source = source or ("slot" if slot else "watermark" if column or not (is_sql or is_postgresql) else "notify")
        found = open_slot(access, chosen, slot or "rowcache") if source == "slot" else None
        if is_sql:
            if source == "watermark":
                raise ArgumentError("--sql is for triggers and slots: to follow a column takes no SQL, leave --sql out")
            sources = [found] if found else notifying_tables(access, chosen)
            click.echo("\n".join(each.sql() for each in sources), nl=False)
            return
        outages = Outage("the slot" if found else "the database"), Outage("Redis")
        touches = [make_touches(access, table) for table in chosen]
        followers: list[PollingFollower] | list[NotifyFollower]
        if found:
            found.check()
            followers = [PollingFollower(lambda _: found.changes(), touches, every, outages)]
        elif source == "notify":
            followers = [NotifyFollower(listen(access, chosen), touches, outages)]
        else:
            followers = [
                PollingFollower(begin(access, table, column, margin), [touch], every, outages)
                for table, touch in zip(chosen, touches, strict=True)
            ]
        access.client.time()
        open_log(find_app(), loglevel, logfile)
        logger.info("following %s by %s", ", ".join(table.name for table in chosen), source)
        note = ProcessNote(access.settings, "follower", f"follow@{gethostname()}")
        from rowcache_tasks.database.engine import call_while_waiting  # noqa: PLC0415 an extra

        for engine in {access.engine(access.settings.url_of(table)) for table in chosen}:
            call_while_waiting(engine, note.write)
        try:
            while True:
                note.write()
                time.sleep(min(MAX_WAIT_S, *(follower.turn() for follower in followers)))
        finally:
            note.erase()


def make_touches(access: Access, table: Table) -> Touches:
    """Return the rows of a table that wait; of one with "replica" with the position of the database."""
    from rowcache_tasks.database.engine import read_position  # noqa: PLC0415 an extra

    engine, load = access.engine(access.settings.url_of(table)), partial(access.admission.load, table)
    return Touches(access.client, access.schedule(table.name), load, lambda: read_position(engine))


def begin(access: Access, table: Table, column: str | None, margin_s: float) -> Any:
    """Look up the column, and start after the newest row; return the function that reads the changes since."""
    from rowcache_tasks.database.watermark import Watermark  # noqa: PLC0415 an extra

    if not (name := column or table.version):
        raise ArgumentError(f"the column is not given, and {table.setting} has no version: add --column NAME")
    watermark = Watermark(access.engine(access.settings.url_of(table)), table, name, margin_s)
    watermark.begin()
    return lambda go_on: ([(table.name, ids)] for ids in watermark.changes(go_on))


def open_slot(access: Access, tables: Sequence[Table], name: str) -> "Slot":
    """Return the reader of a slot."""
    from rowcache_tasks.database.slot import Slot  # noqa: PLC0415 an extra

    if not SLOT_NAME.fullmatch(name):
        raise ArgumentError(f"--slot is {shorten(name)}: a slot has a name of a-z, 0-9 and _, up to 63 characters")
    return Slot(access.engine(common_url(access, tables)), tables, name)


def is_notifying(access: Access, table: Table) -> bool:
    """Whether the database of a table can notify."""
    return access.engine(access.settings.url_of(table)).dialect.name == "postgresql"


def notifying_tables(access: Access, tables: Sequence[Table]) -> list["NotifyingTable"]:
    """Return the tables as sources of notifications. Raises ArgumentError unless one PostgreSQL database has all."""
    from rowcache_tasks.database.notification import NotifyingTable  # noqa: PLC0415 an extra

    url = common_url(access, tables)
    return [NotifyingTable(access.engine(url), table) for table in tables]


def common_url(access: Access, tables: Sequence[Table]) -> str | None:
    """Return the URL of the PostgreSQL database of the tables. Raises ArgumentError unless one has all."""
    urls = {access.settings.url_of(table) for table in tables}
    if len(urls) > 1:
        raise ArgumentError("the tables are of several databases: start a process for each database")
    for table in tables:
        if not is_notifying(access, table):
            raise ArgumentError(f"{table.setting} is not in PostgreSQL: follow it by a column (--column NAME)")
    return urls.pop()


def listen(access: Access, tables: Sequence[Table]) -> "Listener":
    """Listen to the notifications of tables."""
    from rowcache_tasks.database.notification import Listener  # noqa: PLC0415 an extra

    sources = notifying_tables(access, tables)
    listener = Listener(access.engine(access.settings.url_of(tables[0])), sources)
    listener.open()
    return listener
