"""Partitions of the tables as their keys have them, and the places of the servers: `layout:` in Redis."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.keys import tags_of
from rowcache_tasks.schedule.node import Node, NodeAwayError
from rowcache_tasks.schedule.servers import Servers

HASH = "crc32"


def check_layout(client: "redis.Redis", table: Table) -> str:
    """Note the layout of a table with the first process; return what is wrong, "" if nothing is.

    Each server of a list notes its place. Raises NodeAwayError when no server answers.
    """
    if not (problem := layout_problem(client, table)):
        for server, facts in each_server(client):
            if table.partitions > 1 or facts:
                layout = {"partitions": table.partitions, "hash": HASH, "tags": tags_of(table.partitions)} | facts
                server.set(table.layout, json.dumps(layout), nx=True)
        problem = layout_problem(client, table)
    return problem


def layout_problem(client: "redis.Redis", table: Table) -> str:
    """Return in one line what is wrong with the layout of a table; "" if nothing is."""
    for server, facts in each_server(client):
        if (text := server.get(table.layout)) is None:
            if table.partitions > 1 and server.exists(f"schedule:{table.namespace}"):
                return (
                    f"{table.setting}['partitions'] is {table.partitions}, and its rows are scheduled without "
                    "partitions: drop the table without this option, and schedule its rows anew with it"
                )
            continue
        noted = read_layout(text)
        if (found := noted.get("partitions", 0)) != table.partitions:
            return (
                f"{table.setting}['partitions'] is {table.partitions}, and its keys in Redis have {found}: "
                f"set {found}, or drop the table with the old settings, delete the key {table.layout}, "
                "and schedule its rows anew"
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
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    return {}


def show_place(facts: dict[str, Any]) -> str:
    """Name the place of a server in a list."""
    return f"server {facts.get('server')} of {facts.get('servers')}" if facts else "a server that is in no list"
