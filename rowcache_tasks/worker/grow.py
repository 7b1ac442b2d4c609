"""Growth of a table to more partitions, of which each step can be repeated."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import redis

from rowcache_tasks.config.settings import Settings, Table
from rowcache_tasks.errors import ArgumentError, ConfigError
from rowcache_tasks.schedule.growth import Growth
from rowcache_tasks.schedule.layout import check_layout, note_layout, read_layout
from rowcache_tasks.schedule.process import parse_processes
from rowcache_tasks.schedule.table import TableState


def begin_growth(client: "redis.Redis", settings: Settings, table: Table) -> Growth:
    """Note that rows are moved to the new parts of a table from now on; nothing, if they were moved before.

    Raises ConfigError when they cannot be moved, and ArgumentError for a table that does not grow.
    """
    noted = read_layout(client.get(table.layout))
    is_begun = noted.get("partitions") == table.partitions and "from" in noted
    if not table.growing_from:
        if not is_begun:
            raise ArgumentError(
                f"{table.setting} has no 'growing_from': set the new number as 'partitions' and the old one as "
                "'growing_from', and restart all processes (docs/cluster.md)"
            )
        table = replace(table, growing_from=noted["from"])
    if problem := check_layout(client, table):
        raise ConfigError(problem)
    if not is_begun:
        check_processes(client, settings, table)
        if TableState(client, table).paused_s() is not None:
            raise ConfigError(f"{table.name} is paused, and rows that move are refreshed: `rowcache resume` it first")
    growth = Growth(client, table)
    if not is_begun:
        note_layout(client, growth.new, {"from": table.growing_from, "moving": True})
    return growth


def check_processes(client: "redis.Redis", settings: Settings, table: Table) -> None:
    """Refuse to begin while a dispatcher or worker does not look at both places. Raises ConfigError."""
    pipeline: Any = client.pipeline(transaction=False)
    pipeline.zrange(settings.names.processes, 0, -1, withscores=True)
    pipeline.time()
    noted, (seconds, microseconds) = pipeline.execute()
    for process in parse_processes(seconds + microseconds / 1e6, noted):
        layout = process.layouts.get(table.name, (1, 0))
        if table.name in process.tables and not process.is_silent and layout != (table.partitions, table.growing_from):
            raise ConfigError(
                f"{process.label} has {layout[0]} partitions of {table.name!r}, and 'growing_from' "
                f"{layout[1] or 'not set'}: restart it with {table.partitions} and {table.growing_from}, as set here"
            )


def move_rows(client: "redis.Redis", growth: Growth, report: Callable[[int], None]) -> int:
    """Move all rows, those that are due first before others, and note that it is done; return how many.

    If the process dies, the same call does the rest. Raises UnsettledError.
    """
    moved, is_left = 0, True
    while is_left:  # other programs may have written to a part that was left
        is_left = False
        for part in growth.old.parts:
            while some := growth.first_rows(part):
                is_left = True
                moved += growth.move(some)
                report(moved)
    note_layout(client, growth.new, {"from": growth.old.partitions})
    return moved
