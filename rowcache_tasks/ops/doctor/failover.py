"""Checks of fail-over: the Sentinels, the replicas of a server, and the clocks of all servers."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rowcache_tasks.errors.text import show_count, show_duration
from rowcache_tasks.ops.finding import Finding, fail, ok, warn
from rowcache_tasks.schedule.node import Node, NodeAwayError

MAX_CLOCK_DIFFERENCE_S = 1.0
TIMEOUT_S = 1.0  # of a replica: the way to it may be closed from here
REMEDIES = {
    "NOQUORUM": "start the other Sentinels, or lower the quorum (SENTINEL SET)",
    "No such master": "correct the name in rowcache_redis_url",
}
"""Part of the error of a Sentinel -> remedy."""


def examine_sentinels(client: "redis.Redis") -> Iterator[Finding]:
    """Ask each Sentinel of a client of one server; without Sentinels, yield nothing."""
    pool: Any = client.connection_pool
    if (manager := getattr(pool, "sentinel_manager", None)) is None:
        return
    name, primaries, able = repr(pool.service_name), set[str](), 0
    for sentinel in manager.sentinels:
        where = "{host}:{port}".format(**sentinel.get_connection_kwargs())
        try:
            found: Any = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", pool.service_name)
            primaries |= {":".join(part.decode() for part in found)} if found else set()
            sentinel.execute_command("SENTINEL", "CKQUORUM", pool.service_name)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            yield warn(f"sentinels: {where} does not answer: {error}: start it, or take it out of rowcache_redis_url")
        except redis.ResponseError as error:
            remedy = next((text for part, text in REMEDIES.items() if part in str(error)), "allow it (ACL SETUSER)")
            yield fail(f"sentinels: {where} cannot fail {name} over: {error}: {remedy}")
        else:
            able += 1
    if len(primaries) > 1:
        named = ", ".join(sorted(primaries))
        yield fail(
            f"sentinels: they name different primaries of {name}: {named}: SENTINEL RESET at those that are wrong"
        )
    if able:
        yield ok(f"sentinels: {show_count(able, 'answers', 'answer')} and can fail {name} over")


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
