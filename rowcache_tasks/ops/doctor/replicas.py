"""Checks of the replicas of a server: enough for the settings, needed for writes, clocks like that of the primary."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rowcache_tasks.errors.text import show_duration
from rowcache_tasks.ops.finding import Finding, fail, warn
from rowcache_tasks.schedule.node import Node, NodeAwayError

MAX_CLOCK_DIFFERENCE_S = 1.0
TIMEOUT_S = 1.0  # of a replica: the way to it may be closed from here


def replicas_of(client: "redis.Redis", info: Mapping[str, Any], wanted: int, *, is_cluster: bool) -> Iterator[Finding]:
    """Check the replicas of a primary by its INFO; `wanted`: rowcache_replicas."""
    connected = int(info.get("connected_slaves", 0))
    if connected < wanted:
        yield fail(
            f"replicas: {connected} connected and rowcache_replicas is {wanted}, so every schedule change waits: "
            "start or connect the others, or lower the setting"
        )
    has_failover = wanted or connected or hasattr(client.connection_pool, "sentinel_manager")
    # The field is there only while min-replicas-to-write is set. A node of a cluster that is cut off stops by itself.
    if has_failover and not is_cluster and "min_slaves_good_slaves" not in info:
        yield warn(
            "replicas: min-replicas-to-write is 0: a primary that is cut off from its replicas takes writes, which are "
            "lost when one of them is promoted: CONFIG SET min-replicas-to-write 1, at each server of the pair"
        )


def examine_clocks(nodes: Sequence[Node]) -> Iterator[Finding]:
    """Compare the clocks of all primaries and of the replicas that can be reached from here."""
    ahead_s: dict[str, float] = {}
    for node in nodes:
        try:
            with node as server:
                ahead_s[node.name] = read_ahead_s(server)
                ahead_s |= read_replicas(server)
        except (NodeAwayError, redis.ResponseError):
            continue  # named above
    first, last = min(ahead_s, key=ahead_s.__getitem__, default=""), max(ahead_s, key=ahead_s.__getitem__, default="")
    if ahead_s and (apart_s := ahead_s[last] - ahead_s[first]) > MAX_CLOCK_DIFFERENCE_S:
        yield warn(
            f"clocks: {last} is {show_duration(apart_s)} ahead of {first}: changes of one row may be made in "
            "another order, and a failover to a replica is a step of the clock: correct them (NTP)"
        )


def read_replicas(primary: "redis.Redis") -> dict[str, float]:
    """Return how far the clock of each replica is ahead of this machine's, by its address; none out of reach."""
    pool: Any = primary.connection_pool
    given = primary.get_connection_kwargs()
    login = ("username", "password", "credential_provider")
    options = {name: value for name, value in given.items() if name in login or name.startswith("ssl_")}
    options |= {"ssl": issubclass(pool.connection_class, redis.SSLConnection), "retry": Retry(NoBackoff(), 0)}
    found = {}
    for replica in primary.info("replication").values():
        if not (isinstance(replica, dict) and "ip" in replica):
            continue
        host, port = replica["ip"], replica["port"]
        try:
            with redis.Redis(
                host, port, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, **options
            ) as client:
                found[f"replica {host}:{port}"] = read_ahead_s(client)
        except redis.RedisError:
            continue
    return found


def read_ahead_s(client: "redis.Redis") -> float:
    """Return how far the clock of a server is ahead of this machine's, by the fastest of three replies; seconds."""
    answers = []
    for _ in range(3):
        started, before = time.monotonic(), time.time()
        seconds, microseconds = client.time()
        took = time.monotonic() - started
        answers.append((took, int(seconds) + int(microseconds) / 1e6 - before - took / 2))
    return min(answers)[1]
