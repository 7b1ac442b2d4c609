"""Partitions of the tables as their keys have them, and the places of the servers: `layout:` in Redis."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.keys import tags_of
from rowcache_tasks.schedule.node import Node, NodeAwayError
from rowcache_tasks.schedule.servers import Servers

HASH = "crc32"
EMPTY: Mapping[str, Any] = {}


def check_layout(client: "redis.Redis", table: Table) -> str:
    """Note the layout of a table with the first process; return what is wrong, "" if nothing is.

    Each server of a list notes its place. Raises NodeAwayError when no server answers.
    """
    if not (problem := layout_problem(client, table)):
        note_layout(client, table.old if table.growing_from else table, nx=True)
        problem = layout_problem(client, table)
    return problem


def note_layout(client: "redis.Redis", table: Table, facts: Mapping[str, Any] = EMPTY, *, nx: bool = False) -> None:
    """Note the layout of a table at each server; with `nx`, where none is noted and it is divided."""
    for server, place in each_server(client):
        if table.partitions > 1 or place:
            layout = {"partitions": table.partitions, "hash": HASH, "tags": tags_of(table.partitions)}
            server.set(table.layout, json.dumps({**layout, **place, **facts}), nx=nx)


def layout_problem(client: "redis.Redis", table: Table) -> str:
    """Return in one line what is wrong with the layout of a table; "" if nothing is."""
    for server, facts in each_server(client):
        if (text := server.get(table.layout)) is None:
            if table.partitions > 1 and not table.growing_from and server.exists(f"schedule:{table.namespace}"):
                return (
                    f"{table.setting}['partitions'] is {table.partitions}, and its rows are scheduled without "
                    "partitions: set 'growing_from': 1 as well, and run `rowcache grow` (docs/cluster.md)"
                )
            continue
        noted = read_layout(text)
        if (found := noted.get("partitions", 0)) not in {table.partitions, table.growing_from or table.partitions}:
            other = f"'growing_from': {found} as well, and run `rowcache grow` (docs/cluster.md)"
            if not 0 < found < table.partitions:
                other = (
                    f"drop the table with the old settings, delete the key {table.layout}, and schedule its rows anew"
                )
            return (
                f"{table.setting}['partitions'] is {table.partitions}, and its keys in Redis have {found}: "
                f"set {found}, or {other}"
            )
        if noted.get("moving") and noted.get("from") != table.growing_from:
            return (
                f"{table.setting}['growing_from'] is {table.growing_from or 'not set'}, and rows are moved to "
                f"{found} partitions from {noted.get('from')}: set {noted.get('from')} until `rowcache grow` has ended"
            )
        was: dict[str, Any] = {name: noted[name] for name in ("server", "servers") if name in noted}
        if was != facts:
            return (
                f"rowcache_redis_url has {show_place(facts)}, which holds keys of table {table.name!r} as "
                f"{show_place(was)}: set the servers as they were, in their order, or drop the table with the old "
                f"settings, delete the key {table.layout} of each server, and schedule its rows anew"
            )
    return ""


def each_server(client: "redis.Redis") -> "Iterator[tuple[redis.Redis, dict[str, int]]]":
    """Yield each server of a list that is not away, and its place; else the client and no place."""
    nodes: list[Node] = client.nodes() if isinstance(client, Servers) and not client.is_cluster else []
    if not nodes:
        yield client, {}
    away: list[NodeAwayError] = []
    for place, node in enumerate(nodes, 1):
        try:
            with node as server:
                server.ping()
        except NodeAwayError as error:
            away.append(error)
        else:
            yield server, {"server": place, "servers": len(nodes)}
    if nodes and len(away) == len(nodes):
        raise away[0]


def read_layout(text: Any) -> dict[str, Any]:
    """Return a layout; empty: it cannot be read."""
    with suppress(ValueError, RecursionError):
        found = json.loads(text or "{}")
        if isinstance(found, dict):
            return found
    return {}


def show_place(facts: dict[str, Any]) -> str:
    """Name the place of a server in a list."""
    return f"server {facts.get('server')} of {facts.get('servers')}" if facts else "a server that is in no list"
