"""Checks of the Redis server: version, role, memory, disk, clock."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import redis

from rowcache_tasks.config.settings import Settings
from rowcache_tasks.errors.text import redact, show_duration
from rowcache_tasks.ops.doctor.failover import MAX_CLOCK_DIFFERENCE_S, read_ahead_s, replicas_of
from rowcache_tasks.ops.finding import Finding, fail, ok, warn
from rowcache_tasks.schedule.node import Node, NodeAwayError
from rowcache_tasks.schedule.servers import Servers

OLDEST = (6, 2)  # first version with ZMSCORE and ZRANGE BYSCORE

Info = Mapping[str, Any]


def nodes_of(settings: Settings, client: "redis.Redis") -> Sequence[Node]:
    """Return the servers of a deployment; of a cluster the primaries."""
    return client.nodes() if isinstance(client, Servers) else [Node(redact(settings.redis_url), client)]


def examine_servers(settings: Settings, client: "redis.Redis", nodes: Sequence[Node]) -> Iterator[Finding]:
    """Check the servers of a deployment. Raises redis.ConnectionError for the only one."""
    is_cluster = isinstance(client, Servers) and client.is_cluster
    for node in nodes:
        try:
            with node as server:
                yield from examine_server(server, node.name, replicas=settings.replicas, is_cluster=is_cluster)
        except NodeAwayError as error:
            yield fail(f"{error}: start it: its rows are neither read nor refreshed, all others are")


def examine_server(
    client: "redis.Redis", where: str, *, replicas: int = 0, is_cluster: bool = False
) -> Iterator[Finding]:
    """Check the server at the URL `where`, which has no password. Raises redis.ConnectionError.

    `replicas`: rowcache_replicas.
    """
    started = time.monotonic()
    client.ping()
    took = time.monotonic() - started
    try:
        info: Info = client.info()
    except redis.ResponseError as error:
        yield fail(f"Redis at {where} refuses INFO: {error}: workers and dispatchers need it: allow it (ACL SETUSER)")
        return
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    yield ok(f"{name} at {where} answers in {show_duration(took)}")
    yield version_of(info)
    yield role_of(info, is_cluster=is_cluster)
    if is_cluster and read_option(client, "cluster-require-full-coverage") == "yes":
        yield warn(
            "cluster: cluster-require-full-coverage is yes: while one node is away, all others refuse every command: "
            "CONFIG SET cluster-require-full-coverage no"
        )
    yield from replicas_of(client, info, replicas, is_cluster=is_cluster)
    yield eviction_of(info)
    yield from memory_of(info)
    yield from persistence_of(info, read_option(client, "save"))
    yield connections_of(info)
    yield clock_of(client)


def version_of(info: Info) -> Finding:
    """Check the version; Valkey reports the version of Redis that it is compatible with."""
    version = str(info["redis_version"])
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        return fail(f"version: found Redis {version}, the scripts need 6.2 (ZMSCORE): upgrade the server")
    return ok(f"version: commands of Redis {version}, at least 6.2 is needed")


def read_option(client: "redis.Redis", name: str) -> str | None:
    """Read an option of the server; None where CONFIG is refused, as by managed servers."""
    try:
        found: Any = client.config_get(name)
    except redis.ResponseError:
        return None
    return str(found[name]) if name in found else None


def role_of(info: Info, *, is_cluster: bool = False) -> Finding:
    """Check that the server is a primary; outside of a cluster, unless the settings name one."""
    if info.get("cluster_enabled") and not is_cluster:
        return fail(
            "cluster: found cluster_enabled:1: name it as a cluster in rowcache_redis_url: redis+cluster://host:port/"
        )
    if info.get("role") != "master":
        return fail(f"role: found {info.get('role')}, which refuses writes: name the primary in rowcache_redis_url")
    return ok("role: a primary of a cluster" if is_cluster else "role: a primary, not a cluster")


def eviction_of(info: Info) -> Finding:
    """Check that the server does not evict the schedule."""
    policy, limit = str(info.get("maxmemory_policy", "")), int(info.get("maxmemory", 0))
    remedy = "CONFIG SET maxmemory-policy noeviction, and give a cache that must evict its own server"
    if not policy:
        return warn("eviction: not known, as INFO has no maxmemory_policy: it must be noeviction")
    if not policy.startswith("allkeys"):
        return ok(f"eviction: maxmemory-policy is {policy}, which keeps the schedule")
    if not limit:
        return warn(f"eviction: maxmemory-policy {policy} evicts the schedule as soon as maxmemory is set: {remedy}")
    return fail(
        f"eviction: maxmemory-policy {policy} may evict the schedule "
        f"({int(info.get('evicted_keys', 0)):,} keys evicted so far): {remedy}"
    )


def memory_of(info: Info) -> Iterator[Finding]:
    """Warn before memory is full and writes are refused."""
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if limit and used > 0.9 * limit:
        yield warn(f"memory: {used / limit:.0%} of maxmemory is used; when it is full, writes fail: raise maxmemory")


def persistence_of(info: Info, save_points: str | None) -> Iterator[Finding]:
    """Check that the schedule survives a crash, and the last write to disk."""
    lost = "after a crash or restart of Redis the schedule is lost: set appendonly yes"
    if info.get("aof_enabled"):
        yield ok("persistence: the append-only file is on")
    elif save_points:
        yield ok(f"persistence: snapshots (save {save_points}); a crash loses the schedule changes since the last one")
    elif save_points is None:
        yield warn(
            "persistence: the append-only file is off and CONFIG GET save is not allowed: if snapshots are off, " + lost
        )
    else:
        yield warn("persistence: neither append-only file nor snapshots: " + lost)
    for field in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"):
        if info.get(field, "ok") != "ok":
            yield fail(
                f"persistence: {field} is {info[field]}, and writes may be refused: look at the server's disk and log"
            )


def connections_of(info: Info) -> Finding:
    """Warn before connections are refused."""
    found, limit = int(info.get("connected_clients", 0)), int(info.get("maxclients", 0))
    if limit and found > 0.8 * limit:
        return warn(
            f"connections: {found:,} of maxclients {limit:,}: raise maxclients, or close unused ones (CLIENT LIST)"
        )
    return ok(f"connections: {found:,}" + (f" of maxclients {limit:,}" if limit else ""))


def clock_of(client: "redis.Redis") -> Finding:
    """Compare the clocks of this machine and of the server."""
    ahead_s = read_ahead_s(client)
    if abs(ahead_s) > MAX_CLOCK_DIFFERENCE_S:
        side = "ahead of" if ahead_s > 0 else "behind"
        return warn(
            f"clock: the server is {show_duration(abs(ahead_s))} {side} this machine: programs here that write due "
            "times by their own clock are early or late by as much (this package uses the server's): correct it (NTP)"
        )
    return ok(f"clock: {show_duration(abs(ahead_s))} between the server and this machine")
