"""Partitions of the tables as their keys have them: `layout:` in Redis."""

import json
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.keys import tags_of

HASH = "crc32"


def check_layout(client: "redis.Redis", table: Table) -> str:
    """Note the partitions of a table with the first process; return what is wrong, "" if nothing is."""
    if table.partitions > 1 and not layout_problem(client, table):
        layout = {"partitions": table.partitions, "hash": HASH, "tags": tags_of(table.partitions)}
        client.set(table.layout, json.dumps(layout), nx=True)
    return layout_problem(client, table)


def layout_problem(client: "redis.Redis", table: Table) -> str:
    """Return in one line what is wrong with the partitions of a table; "" if nothing is."""
    found = read_partitions(client.get(table.layout))
    if found is not None and found != table.partitions:
        return (
            f"{table.setting}['partitions'] is {table.partitions}, and its keys in Redis have {found}: set {found}, or "
            f"drop the table with the old settings, delete the key {table.layout}, and schedule its rows anew"
        )
    if found is None and table.partitions > 1 and client.exists(f"schedule:{table.namespace}"):
        return (
            f"{table.setting}['partitions'] is {table.partitions}, and its rows are scheduled without partitions: "
            "drop the table without this option, and schedule its rows anew with it"
        )
    return ""


def read_partitions(text: Any) -> int | None:
    """Return the number in a layout; None: there is none, 0: it cannot be read."""
    if text is None:
        return None
    try:
        return int(json.loads(text)["partitions"])
    except (ValueError, TypeError, KeyError):
        return 0
