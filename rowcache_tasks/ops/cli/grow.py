"""Command that moves the rows of a table to more partitions."""

from rowcache_tasks.errors.text import show_count
from rowcache_tasks.ops.cli.access import open_access
from rowcache_tasks.ops.cli.command import command, json_option, show_progress, table_argument, tell
from rowcache_tasks.worker.grow import begin_growth, move_rows


@command("grow inv")
@table_argument
@json_option
def grow(table: str, as_json: bool) -> None:
    """Move rows to the new partitions of TABLE, while it is used.

    All processes have the new number as 'partitions' and the old one as 'growing_from': docs/cluster.md. After an
    interruption the same command does the rest. Run it again for rows that other programs write by the old keys.
    """
    with open_access() as access:
        growth = begin_growth(access.client, access.settings, access.settings.table(table))
        with show_progress(f"{table}: moving", growth.count_left()) as report:
            moved = move_rows(access.client, growth, report)
    partitions, before = growth.table.partitions, growth.old.partitions
    text = f"{table}: {show_count(moved, 'row')} moved, from {before} to {partitions} partitions"
    tell(as_json, text, table=table, rows=moved, partitions=partitions, growing_from=before)
